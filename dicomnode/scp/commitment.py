"""Storage Commitment (PS3.4 Annex J) in the receiver.

It is the SCP for those who send to the node, and the SCU that is told, over an association of
theirs, what a destination has kept.

A request is on record before it is answered. It is reported over the same association where that
stays open, else by the worker over a new one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from datetime import UTC, datetime
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT

from dicomnode.delivery.association import responses_only
from dicomnode.delivery.proof import send_report
from dicomnode.dicom.storage_commitment import (
    LONGEST_BYTES,
    REQUEST_ACTION,
    STORAGE_COMMITMENT,
    TOO_MANY,
    WELL_KNOWN_INSTANCE,
    RefusedCommitmentError,
    read_report,
    read_request,
)
from dicomnode.dimse.received import association_request
from dicomnode.dimse.store import status_response
from dicomnode.errors import DatabaseError, DeliveryError
from dicomnode.intake.kept import report_on
from dicomnode.tracking import commitment_requests, commitments
from dicomnode.tracking.commitment_requests import CommitmentRequest
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.scp")

SUCCESS, PROCESSING_FAILURE, NO_SUCH_TRANSACTION = 0x0000, 0x0110, 0x0112
NO_SUCH_ACTION, CLASS_INSTANCE_CONFLICT = 0x0123, 0x0119
# More than these wait for the worker.
_MOST_WAITING = 100
_GRACE_SECONDS = 5.0
_MAY_HANG_UP_SECONDS = 1.0

_Answer = tuple[int | Dataset, None]
_Waiting = tuple[Association, CommitmentRequest]


class CommitmentReceiver:
    """The handlers of one receiving process, and the thread that reports; `start` it first."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(_MOST_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is not reported yet is left to the worker."""
        self._stop.set()
        self._thread.join(_GRACE_SECONDS)

    def handlers(self) -> list[evt.EventHandlerType]:
        return [(evt.EVT_N_ACTION, self.on_action), (evt.EVT_N_EVENT_REPORT, self.on_report)]

    def on_action(self, event: evt.Event) -> _Answer:
        """PS3.4 J.3.2: somebody asks the node to keep instances."""
        try:
            asked = self._record(event)
        except Exception as error:  # noqa: BLE001  the edge: pydicom decodes what a peer sent
            return _refused(error, "a request for Storage Commitment")
        try:
            self._queue.put_nowait((event.assoc, asked))
        except queue.Full:
            LOGGER.warning("many ask for Storage Commitment: the worker reports")
        return SUCCESS, None

    def on_report(self, event: evt.Event) -> _Answer:
        """PS3.4 J.3.3: a destination says what it has kept of what the node sent."""
        try:
            request = event.request
            if not isinstance(request, N_EVENT_REPORT):
                raise TypeError("not the event of an N-EVENT-REPORT request")
            _require_bounded(request.EventInformation)
            report = read_report(event.event_information)
            with self._database.begin() as connection:
                is_ours = commitments.report(connection, *report.outcomes)
        except Exception as error:  # noqa: BLE001  the edge: pydicom decodes what a peer sent
            return _refused(error, "a report on Storage Commitment")
        if not is_ours:
            return status_response(NO_SUCH_TRANSACTION, "no such transaction"), None
        LOGGER.info("storage commitment reported", extra={"transaction": report.transaction_uid})
        return SUCCESS, None

    def _record(self, event: evt.Event) -> CommitmentRequest:
        action = event.request
        if not isinstance(action, N_ACTION):
            raise TypeError("not the event of an N-ACTION request")
        _require_bounded(action.ActionInformation)
        if action.ActionTypeID != REQUEST_ACTION:
            raise RefusedCommitmentError(NO_SUCH_ACTION, "the only action is 1, request")
        if action.RequestedSOPInstanceUID != WELL_KNOWN_INSTANCE:
            raise RefusedCommitmentError(CLASS_INSTANCE_CONFLICT, "not the well-known instance")
        request, peer = read_request(event.action_information), association_request(event.assoc)
        with self._database.begin() as connection:
            asked = commitment_requests.add(
                connection,
                request.transaction_uid,
                peer.calling_ae_title,
                peer.peer_address,
                request.references,
                datetime.now(UTC),
            )
        if asked is None:
            raise RefusedCommitmentError(TOO_MANY, "too many reports wait for you; ask later")
        return asked

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                waiting = self._queue.get(timeout=0.2)
            except queue.Empty:
                continue
            if waiting is not None:
                self._report(*waiting)

    def _report(self, association: Association, asked: CommitmentRequest) -> None:
        """The one that asked is told at once, while it is there."""
        try:
            if self._hangs_up(association):
                with self._database.begin() as connection:
                    commitment_requests.report_soon(connection, asked, datetime.now(UTC))
                return
            report = report_on(asked, self._database, self._spool, self._stop.is_set)
            with responses_only(association):
                peer = f"{asked.calling_ae_title} at {asked.peer_address}"
                send_report(association, report, peer)
            with self._database.begin() as connection:
                commitment_requests.done(connection, asked)
        except DeliveryError as error:
            LOGGER.info("the worker reports on Storage Commitment: %s", error)
        except Exception:  # the edge of the thread
            LOGGER.exception("storage commitment could not be reported")

    def _hangs_up(self, association: Association) -> bool:
        """Most release at once, and must not be sent a request while they do."""
        deadline = time.monotonic() + _MAY_HANG_UP_SECONDS
        while time.monotonic() < deadline:
            if self._stop.wait(0.05) or not association.is_established:
                return True
        return False


def add_context(entity: ApplicationEntity) -> None:
    """Both roles: whoever asks is the SCU, and a destination that reports is the SCP."""
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)


def _require_bounded(encoded: BytesIO | None) -> None:
    """Before it is decoded, which takes many times its length."""
    if encoded is not None and encoded.getbuffer().nbytes > LONGEST_BYTES:
        raise RefusedCommitmentError(TOO_MANY, f"longer than {LONGEST_BYTES} bytes; ask in parts")


def _refused(error: Exception, what: str) -> _Answer:
    if isinstance(error, RefusedCommitmentError):
        LOGGER.warning("%s refused: %s", what, error)
        return status_response(error.status, str(error)[:64]), None
    if isinstance(error, DatabaseError):
        LOGGER.error("%s could not be recorded", what, extra={"error": str(error)})
        return status_response(PROCESSING_FAILURE, "not recorded; send it again later"), None
    # Its message could quote what the peer wrote.
    LOGGER.warning("%s can't be read", what, extra={"error": type(error).__name__})
    return status_response(PROCESSING_FAILURE, "the data set can't be read"), None
