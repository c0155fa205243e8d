"""Environment variables as keys of the configuration: `DICOMNODE_SCP__PORT` is `scp.port`.

The settings library reads the variables that it knows and is silent about all others; a misspelt
one must not leave a node running with a value that nobody chose.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pydantic import BaseModel

PREFIX, DELIMITER = "DICOMNODE_", "__"
# Variables with our prefix that are no keys: this project's tests read them.
_FOR_TESTS = ("DICOMNODE_TEST_DATA", "DICOMNODE_KILL_ROUNDS")


def unknown_keys(settings: type[BaseModel]) -> list[str]:
    """A sentence for each variable that looks like a key of `settings` and is none."""
    return [
        f"environment variable {name}: unknown key {'.'.join(keys)}"
        for name in sorted(os.environ)
        if (keys := _keys(name)) and not _exists(keys, settings)
    ]


def source(location: Sequence[int | str]) -> str:
    """The variable that gave the value at `location`; empty where none did."""
    names = {name.upper(): name for name in os.environ}
    for length in (2, 1):
        name = names.get(PREFIX + DELIMITER.join(map(str, location[:length])).upper())
        if name is not None:
            return f"environment variable {name}"
    return ""


def _keys(name: str) -> list[str]:
    upper = name.upper()
    if not upper.startswith(PREFIX) or upper in _FOR_TESTS:
        return []
    return upper.removeprefix(PREFIX).lower().split(DELIMITER)


def _exists(keys: Sequence[str], settings: type[BaseModel]) -> bool:
    section = settings.model_fields.get(keys[0])
    if section is None or len(keys) == 1:
        return section is not None
    return len(keys) == 2 and keys[1] in getattr(section.annotation, "model_fields", {})
