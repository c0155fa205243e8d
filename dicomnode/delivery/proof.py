"""Whether a destination has kept an object: Storage Commitment (PS3.4 Annex J) or C-FIND."""

from __future__ import annotations

import logging
import threading
import time

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context, build_role

from dicomnode.config import DestinationSettings
from dicomnode.delivery.association import (
    RemoteEntity,
    associated,
    give_messages_to_the_reactor,
)
from dicomnode.delivery.store import remote_entity
from dicomnode.dicom.storage_commitment import (
    REQUEST_ACTION,
    STORAGE_COMMITMENT,
    WELL_KNOWN_INSTANCE,
    Report,
    Request,
    read_report,
    report_data_set,
    request_data_set,
)
from dicomnode.errors import DeliveryError, DestinationAwayError

log = logging.getLogger("dicomnode.delivery")

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = (0xFF00, 0xFF01)
_SUCCESS, _PROCESSING_FAILURE = 0x0000, 0x0110
# Many report over an association of their own; those that use ours do so soon.
_WAIT_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 0.05

_Answer = tuple[int, Dataset | None]


def has_instance(
    destination: DestinationSettings,
    calling_ae_title: str,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
) -> bool:
    """C-FIND at the level of instances (PS3.4 C.4.1); raises `DeliveryError` without an answer."""
    remote = remote_entity(destination, calling_ae_title)
    keys = Dataset()
    keys.QueryRetrieveLevel = "IMAGE"
    keys.StudyInstanceUID = study_instance_uid
    keys.SeriesInstanceUID = series_instance_uid
    keys.SOPInstanceUID = sop_instance_uid
    is_there = False
    with associated(remote, [build_context(STUDY_ROOT_FIND)]) as association:
        for answer, match in association.send_c_find(keys, STUDY_ROOT_FIND):
            status = _status(answer, remote, "a C-FIND")
            if status in _PENDING:
                is_there |= match is not None and match.get("SOPInstanceUID") == sop_instance_uid
            elif status != _SUCCESS:
                raise DeliveryError(f"{remote} answered a C-FIND with 0x{status:04X}")
    return is_there


def ask_commitment(
    destination: DestinationSettings, calling_ae_title: str, request: Request
) -> Report | None:
    """N-ACTION; the report, where it comes over the same association at once.

    Raises `DeliveryError` where the request is not taken, `DeliveryRefusedError` where the
    destination doesn't offer Storage Commitment.
    """
    remote = remote_entity(destination, calling_ae_title)
    reports: list[Report] = []
    came = threading.Event()

    def on_report(event: evt.Event) -> _Answer:
        try:
            reports.append(read_report(event.event_information))
        except Exception as error:  # noqa: BLE001  pydicom decodes what a peer sent
            log.warning("a report can't be read", extra={"error": type(error).__name__})
            return _PROCESSING_FAILURE, None
        came.set()
        return _SUCCESS, None

    contexts, handlers = [build_context(STORAGE_COMMITMENT)], [(evt.EVT_N_EVENT_REPORT, on_report)]
    with associated(remote, contexts, handlers=handlers) as association:
        answer, _ = association.send_n_action(
            request_data_set(request), REQUEST_ACTION, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
        )
        status = _status(answer, remote, "a request for Storage Commitment")
        if status != _SUCCESS:
            raise DeliveryError(f"{remote} answered 0x{status:04X} to Storage Commitment")
        give_messages_to_the_reactor(association)
        _wait(association, came)
    return next((each for each in reports if each.transaction_uid == request.transaction_uid), None)


def report_commitment(remote: RemoteEntity, report: Report) -> None:
    """N-EVENT-REPORT over an association of its own, as the SCP; raises `DeliveryError`."""
    contexts, roles = [build_context(STORAGE_COMMITMENT)], [_scp_role()]
    with associated(remote, contexts, roles=roles) as association:
        send_report(association, report, remote)


def send_report(association: Association, report: Report, remote: object) -> None:
    """N-EVENT-REPORT (PS3.4 J.3.3); raises `DeliveryError` where it is not taken."""
    try:
        answer, _ = association.send_n_event_report(
            report_data_set(report), report.event_type, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
        )
    except (RuntimeError, ValueError):  # it was closed, or accepts no such context
        raise DestinationAwayError(f"{remote} takes no report on Storage Commitment") from None
    status = _status(answer, remote, "a report on Storage Commitment")
    if status != _SUCCESS:
        raise DeliveryError(f"{remote} answered 0x{status:04X} to a report on Storage Commitment")


def _scp_role() -> SCP_SCU_RoleSelectionNegotiation:
    return build_role(STORAGE_COMMITMENT, scp_role=True)


def _status(answer: Dataset, remote: object, what: str) -> int:
    if "Status" not in answer:
        raise DestinationAwayError(f"{remote} aborted or did not answer {what} in time")
    return int(answer.Status)


def _wait(association: Association, came: threading.Event) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while association.is_established and time.monotonic() < deadline:
        if came.wait(_LOOK_AGAIN_SECONDS):
            return
