"""JSON as nnU-Net and its users leave it, and as this node writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dicomnode.durable import sync
from dicomnode.errors import ModelError

_LONGEST_BYTES = 64 * 2**20


def read_json(path: Path, called: str = "") -> dict[str, Any]:
    """The object in `path`; raises `ModelError` where it holds none, or is absurdly long.

    `called`: how the user knows the file; by default its bare name, since it may lie in a folder
    that only an installation knows.
    """
    name = called or path.name
    try:
        if path.stat().st_size > _LONGEST_BYTES:
            raise ModelError(f"{name}: {path.stat().st_size} bytes are no JSON of nnU-Net's")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{name}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name}: no JSON file: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: holds no JSON object, so it is not what nnU-Net v2 writes")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
