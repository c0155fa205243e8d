"""STOW-RS (PS3.18 10.5): objects in over HTTP, on the same durable path as C-STORE.

One request is what an association is to a scanner: while it is open, no series that it sent to is
whole. A part is held in memory, as the data set of a C-STORE is, so that it is written once and
whole; the next is read when it is durable. The bytes of a part decide what it is, not its header.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from dicomnode.config import Settings
from dicomnode.dicom.encoded import claimed_header
from dicomnode.dicom.file_format import split_file
from dicomnode.dicom.uid_syntax import is_uid, only_uid
from dicomnode.domain import InstanceHeader
from dicomnode.errors import DatabaseError, SpoolError, UnreadableObjectError
from dicomnode.intake.intake import Intake
from dicomnode.intake.multipart import MultipartReader, PartTooLongError, parse_media_type
from dicomnode.intake.received import Peer
from dicomnode.intake.refusals import RefusedObjectError, reason_of
from dicomnode.meters import Meters
from dicomnode.web.origin import client_address
from dicomnode.web.pace import Pace
from dicomnode.web.store_report import RefusedRequestError, StoreReport, StoreStatus

LOGGER = logging.getLogger("dicomnode.web")

_DICOM, _RELATED = "application/dicom", "multipart/related"
_RETRY_AFTER_SECONDS = 60
# Each is kept aside on disk; who sends so many sends something else than DICOM.
_MOST_UNREADABLE = 100


class StoreService:
    """The store transaction; one for all requests."""

    def __init__(self, settings: Settings, intake: Intake, meters: Meters) -> None:
        self._intake = intake
        self._meters = meters
        self._ae_title = settings.scp.ae_title
        self._idle_seconds = settings.scp.network_timeout_seconds
        self._object_bytes = settings.scp.maximum_object_bytes
        self._request_bytes = settings.web.maximum_request_bytes
        self._web = settings.web

    async def store(self, request: Request) -> Response:
        """POST /dicom-web/studies and /dicom-web/studies/{study}."""
        address = client_address(request, self._web)
        peer = self._intake.opened(
            calling_ae_title="", called_ae_title=self._ae_title, address=address
        )
        report, outcome = StoreReport(), "aborted"
        try:
            await self._store_all(request, peer, report)
            outcome = "released"
        except RefusedRequestError as refused:
            return self._refuse(refused, report, address)
        except ClientDisconnect:
            outcome = "lost"
            return Response(status_code=StoreStatus.BAD_REQUEST)  # nobody reads it
        finally:
            self._intake.closed(peer, outcome)
        return _answer(report, report.status())

    async def _store_all(self, request: Request, peer: Peer, report: StoreReport) -> None:
        study = request.path_params.get("study", "")
        if study and not is_uid(study):
            raise RefusedRequestError(StoreStatus.BAD_REQUEST, "the study in the URL is no UID")
        async with aclosing(self._objects(request)) as objects:
            async for data in objects:
                await run_in_threadpool(self._store_one, peer, data, study, report)
                if report.unreadable() >= _MOST_UNREADABLE:
                    sentence = f"{_MOST_UNREADABLE} parts of the request can't be read"
                    raise RefusedRequestError(StoreStatus.BAD_REQUEST, sentence)
        if report.is_empty():
            raise RefusedRequestError(StoreStatus.BAD_REQUEST, "the request brings no object")

    def _store_one(self, peer: Peer, data: bytes, study: str, report: StoreReport) -> None:
        outcome = "refused"
        try:
            with self._meters.timing("receive_seconds", way="stow"):
                header = self._intake.store_file(peer, data, study_instance_uid=study)
            report.stored.append(header)
            outcome = "stored"
        except RefusedObjectError as refused:
            report.failed.append((refused.header, refused.reason))
        except (DatabaseError, SpoolError) as error:
            LOGGER.error("an object could not be taken in", extra={"error": str(error)})
            report.failed.append((_claims(data), reason_of(error)))
        self._meters.count("objects_received_total", way="stow", outcome=outcome)

    def _objects(self, request: Request) -> AsyncGenerator[bytes]:
        """The bytes of each object as soon as it is whole."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise RefusedRequestError(
                StoreStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding has to be identity, or absent"
            )
        content_type = request.headers.get("content-type", "")
        kind, options = parse_media_type(content_type)
        if kind == _DICOM:
            return self._only_object(request)
        if kind != _RELATED or options.get("type", _DICOM).lower() != _DICOM:
            raise RefusedRequestError(
                StoreStatus.UNSUPPORTED_MEDIA_TYPE,
                f'Content-Type has to be {_RELATED}; type="{_DICOM}", or {_DICOM}',
            )
        try:
            reader = MultipartReader(content_type, self._object_bytes)
        except UnreadableObjectError as error:
            raise RefusedRequestError(StoreStatus.BAD_REQUEST, str(error)) from None
        return self._parts(request, reader)

    async def _parts(self, request: Request, reader: MultipartReader) -> AsyncGenerator[bytes]:
        try:
            async for piece in self._pieces(request, self._request_bytes):
                for part in reader.feed(piece):
                    yield part.content
            reader.finish()
        except PartTooLongError as error:
            raise RefusedRequestError(StoreStatus.CONTENT_TOO_LARGE, str(error)) from None
        except UnreadableObjectError as error:
            raise RefusedRequestError(StoreStatus.BAD_REQUEST, str(error)) from None

    async def _only_object(self, request: Request) -> AsyncGenerator[bytes]:
        whole = bytearray()
        async for piece in self._pieces(request, min(self._request_bytes, self._object_bytes)):
            whole += piece
        if whole:
            yield bytes(whole)

    async def _pieces(self, request: Request, maximum_bytes: int) -> AsyncGenerator[bytes]:
        """The body as it comes: bounded in length, and in the time that is waited."""
        too_long = RefusedRequestError(
            StoreStatus.CONTENT_TOO_LARGE, f"the request is longer than {maximum_bytes} bytes"
        )
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > maximum_bytes:
            raise too_long
        stream, read, pace = request.stream(), 0, Pace(self._idle_seconds)
        while True:
            try:
                piece = await pace.wait_for(anext(stream, None))
            except TimeoutError:
                raise RefusedRequestError(StoreStatus.REQUEST_TIMEOUT, str(pace)) from None
            if piece is None:
                return
            pace.came(len(piece))
            read += len(piece)
            if read > maximum_bytes:
                raise too_long
            yield piece

    def _refuse(self, refused: RefusedRequestError, report: StoreReport, address: str) -> Response:
        self._intake.audit(
            "request refused", address, sentence=str(refused), status=str(int(refused.status))
        )
        LOGGER.warning("request refused: %s", refused, extra={"peer": address})
        if report.is_empty():
            return PlainTextResponse(f"{refused}\n", refused.status)
        return _answer(report, refused.status)


def _answer(report: StoreReport, status: StoreStatus) -> Response:
    later = status is StoreStatus.SERVICE_UNAVAILABLE
    return JSONResponse(
        report.module(),
        status,
        headers={"Retry-After": str(_RETRY_AFTER_SECONDS)} if later else None,
        media_type="application/dicom+json",
    )


def _claims(data: bytes) -> InstanceHeader:
    """Which object it is that was not taken in."""
    try:
        meta, data_set = split_file(data)
    except UnreadableObjectError:
        return claimed_header(b"", "")
    return claimed_header(data_set, only_uid(meta.transfer_syntax_uid))
