"""A web server on loopback that serves one file, as well or as badly as a test wants."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What is served and how; `ranges`: the Range headers that were asked for, None for none."""

    content: bytes
    etag: str | None = '"one"'
    with_range: bool = True
    break_off_after: list[int] = field(default_factory=list)  # bytes, one an answer; then never
    claimed_bytes: int | None = None
    status: int | None = None
    redirect_to: str | None = None
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        self.close_connection = True
        wanted = self.headers.get("Range")
        self.served.ranges.append(wanted)
        if self.served.status is not None:
            return self._head(self.served.status, 0)
        if self.served.redirect_to is not None and self.path != "/moved.zip":
            self.send_response(302)
            self.send_header("Location", self.served.redirect_to)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            return self.end_headers()
        return self._send(self._start(wanted))

    def _start(self, wanted: str | None) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        fresh = self.headers.get("If-Range") in (None, self.served.etag)
        return int(found[1]) if found and fresh and self.served.with_range else 0

    def _send(self, start: int) -> None:
        content = self.served.content
        size = self.served.claimed_bytes or len(content)
        if start >= size:
            self._head(416, 0, f"bytes */{size}")
            return
        last = size - 1
        if start:
            self._head(206, size - start, f"bytes {start}-{last}/{size}")
        else:
            self._head(200, size)
        stop = self.served.break_off_after.pop(0) if self.served.break_off_after else len(content)
        self.wfile.write(content[start : start + stop])
        self.wfile.flush()

    def _head(self, status: int, length: int, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")  # as it is: no client may wait on it for more
        if self.served.etag is not None:
            self.send_header("ETag", self.served.etag)
        if content_range is not None:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving(served: Served, name: str = "networks.zip") -> Iterator[Served]:
    """`served.url` is the address of the file while the block runs."""
    handler = type("Handler", (_Handler,), {"served": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_port}/{name}"
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
