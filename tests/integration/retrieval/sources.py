"""Sources that can be told how to misbehave: pynetdicom's SCPs, and an HTTP server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as Find,  # type: ignore[attr-defined]
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet as Get,  # type: ignore[attr-defined]
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelMove as Move,  # type: ignore[attr-defined]
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.factories import make_uid

Answers = Iterator[tuple[int, Dataset | None]]
Handler = Callable[[evt.Event], Any]


def says(
    instances: Mapping[str, Sequence[str]], counts: bool = True, named: int | None = None
) -> Handler:
    """A C-FIND handler for one study: its series and their instances, of which it names `named`."""

    def find(event: evt.Event) -> Answers:
        asked = event.identifier
        if asked.QueryRetrieveLevel == "SERIES":
            for series, uids in instances.items():
                match = Dataset()
                match.StudyInstanceUID = asked.StudyInstanceUID
                match.SeriesInstanceUID = series
                if counts:
                    match.NumberOfSeriesRelatedInstances = len(uids)
                yield 0xFF00, match
        if asked.QueryRetrieveLevel == "IMAGE":
            for uid in instances[str(asked.SeriesInstanceUID)][:named]:
                match = Dataset()
                match.SOPInstanceUID = uid
                yield 0xFF00, match

    return find


@contextmanager
def dicom_source(
    handlers: Mapping[Any, Handler], ae_title: str = "PACS", storage: Sequence[str] = ()
) -> Iterator[int]:
    """Yields the port; `storage` are the SOP Classes that it would send by C-GET."""
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = True
    for sop_class in (Verification, Find, Move, Get):
        entity.add_supported_context(sop_class)
    for storage_class in storage:
        entity.add_supported_context(storage_class, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers.items()))
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def sends(files: Sequence[Any], abort_after: int | None = None) -> Handler:
    """A C-GET handler that sends these files, or aborts after some of them."""

    def get(event: evt.Event) -> Iterator[Any]:
        yield len(files)
        for number, path in enumerate(files):
            if number == abort_after:
                event.assoc.abort()
                return
            yield 0xFF00, dcmread(path)

    return get


@contextmanager
def silent_source() -> Iterator[int]:
    """It takes connections, and says nothing; the rest of the answers is never read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def babbling_source(words: bytes) -> Iterator[int]:
    """It answers every connection with these bytes."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(words)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


Page = tuple[int, str, bytes]


@contextmanager
def web_source(
    pages: Callable[[str, Mapping[str, str]], Page], also: Mapping[str, str] | None = None
) -> Iterator[str]:
    """`pages(path, headers)` gives status, content type and body; yields the address.

    `also` are more header fields of every answer.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content_type, body = pages(self.path, dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            for name, value in (also or {}).items():
                self.send_header(name, value)
            # A body that is cut off ends before the length that was announced.
            cut = body.endswith(CUT)
            self.send_header("Content-Length", str(len(body) + (1000 if cut else 0)))
            self.end_headers()
            self.wfile.write(body.removesuffix(CUT))
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(Answer) as port:
        yield f"http://127.0.0.1:{port}/dicom-web"


@contextmanager
def _serving(answer: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def trickling_source(
    rows: Callable[[str], list[dict[str, Any]]], begun: Path | None = None
) -> Iterator[str]:
    """QIDO-RS answers with `rows(path)`, WADO-RS with one byte after the other; yields the address.

    The file `begun` is made when the first of these was sent.
    """
    ended = threading.Event()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            self.send_response(200)
            if "?" in self.path:
                body = json.dumps(rows(self.path)).encode()
                self.send_header("Content-Type", "application/dicom+json")
                self.end_headers()
                self.wfile.write(body)
                return
            self.send_header("Content-Type", "multipart/related; boundary=edge")
            self.end_headers()
            self.wfile.write(b"--edge\r\nContent-Type: application/dicom\r\n\r\n")
            with suppress(OSError):
                while not ended.wait(0.05):
                    self.wfile.write(b"a")
                    if begun is not None:
                        begun.touch()

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(Answer) as port:
        try:
            yield f"http://127.0.0.1:{port}/dicom-web"
        finally:
            ended.set()


CUT = b"<cut off here>"
STUDY = make_uid("study")


def announces(pdu_bytes: int, got: list[int]) -> Handler:
    """A handler that answers with the header of a PDU so long, and then with as much as it can.

    `got` is told how many bytes were taken until the other side hung up.
    """

    def answer(event: evt.Event) -> Answers:
        wire = event.assoc.dul.socket
        assert wire is not None
        assert wire.socket is not None
        wire.socket.sendall(b"\x04\0" + pdu_bytes.to_bytes(4, "big"))
        sent = 0
        try:
            while sent < pdu_bytes:
                sent += wire.socket.send(bytes(1 << 20))
        except OSError:
            pass
        got.append(sent)
        event.assoc.abort()
        yield 0x0000, None

    return answer
