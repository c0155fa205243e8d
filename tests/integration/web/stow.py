"""A hand-made STOW-RS client, and the HTTP role that it talks to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread

from dicomnode.config import Settings
from tests.integration.scp.receiving import Node, running
from tests.ports import free_port

BOUNDARY = "a-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
FAILED, STORED, OTHER = "00081198", "00081199", "0008119A"


def web_settings(folder: Path, *, scp: Any = None, **web: Any) -> Settings:
    return Settings(
        node={"data_folder": folder / "data"},  # type: ignore[arg-type]
        scp={"minimum_free_bytes": 0, "port": free_port()} | (scp or {}),  # type: ignore[arg-type]
        web={"port": free_port()} | web,  # type: ignore[arg-type]
    )


@contextmanager
def running_web(settings: Settings, folder: Path) -> Iterator[Node]:
    with running(settings, folder, "dicomnode.web.server") as node:
        yield node


def url(node: Node, path: str = "/dicom-web/studies") -> str:
    return f"http://127.0.0.1:{node.settings.web.port}{path}"


def multipart(parts: Sequence[bytes], *, header: str = "Content-Type: application/dicom") -> bytes:
    start = f"--{BOUNDARY}\r\n{header}\r\n\r\n".encode()
    return b"".join(start + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def post(
    node: Node,
    body: bytes | Iterator[bytes],
    *,
    path: str = "/dicom-web/studies",
    content_type: str = RELATED,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    return httpx.post(
        url(node, path),
        content=body,
        headers={"Content-Type": content_type} | (headers or {}),
        timeout=60,
    )


def instances(response: httpx.Response, sequence: str) -> list[str]:
    """The SOP Instance UIDs in one of the sequences of the answer."""
    items = response.json().get(sequence, {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def reasons(response: httpx.Response, sequence: str = FAILED) -> list[int]:
    items = response.json().get(sequence, {}).get("Value", [])
    return [item["00081197"]["Value"][0] for item in items]


def sop_uid(path: Path) -> str:
    return str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def study_uid(path: Path) -> str:
    return str(dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)


def contents(images: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in images]
