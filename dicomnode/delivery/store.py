"""Storage SCU and Verification SCU (PS3.4 Annex B and Annex A): SEGs to a destination."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from dicomnode.config import DestinationSettings
from dicomnode.delivery.association import RemoteEntity, associated
from dicomnode.errors import DeliveryError, DeliveryRefusedError, DestinationAwayError

log = logging.getLogger("dicomnode.delivery")

VERIFICATION_SOP_CLASS = "1.2.840.10008.1.1"

# C-STORE statuses that are neither success nor warning (PS3.4 Table B.2-1, PS3.7 Annex C):
# what a sentence says of them, and whether the same object may be tried again. What is not in
# this table is tried again: a delivery that gives up too early loses a result.
_FAILURES: tuple[tuple[range, str, bool], ...] = (
    (range(0xA700, 0xA800), "out of resources", True),
    (range(0xA900, 0xAA00), "the object does not match its SOP Class", False),
    (range(0xC000, 0xD000), "the destination can't understand the object", False),
    (range(0x0117, 0x0118), "invalid SOP Instance UID", False),
    (range(0x0122, 0x0123), "SOP Class not supported", False),
    (range(0x0124, 0x0125), "not authorised", True),
    (range(0x0110, 0x0111), "processing failure", True),
)
# 0x0111, Duplicate SOP Instance: result UIDs are a function of the content, so what the
# destination already has is this object, sent before an interruption.
_WARNINGS = (0x0001, 0x0107, 0x0111, 0x0116)


def send(
    destination: DestinationSettings, files: Sequence[Path], calling_ae_title: str
) -> tuple[str, ...]:
    """Store every file at the destination over one association; sending twice is harmless.

    Returns the destination's warnings, one sentence each. Raises `DeliveryError` when it may
    succeed later and `DeliveryRefusedError` when the destination, or the file, rules it out.
    """
    data_sets = [_read(path) for path in files]
    contexts = _contexts(data_sets)
    with associated(remote_entity(destination, calling_ae_title), contexts) as association:
        warnings = [_store(association, destination, data_set) for data_set in data_sets]
    return tuple(warning for warning in warnings if warning)


def echo(destination: DestinationSettings, calling_ae_title: str = "DICOMNODE") -> None:
    """C-ECHO; raises `DeliveryError`, `AssociationRejectedError` too, with what is wrong."""
    contexts = [build_context(VERIFICATION_SOP_CLASS)]
    with associated(remote_entity(destination, calling_ae_title), contexts) as association:
        status = association.send_c_echo()
        if "Status" not in status:
            raise DestinationAwayError(f"{_who(destination)} did not answer a C-ECHO in time")
        if status.Status != 0x0000:
            raise DeliveryError(f"{_who(destination)} answered a C-ECHO with 0x{status.Status:04X}")


def remote_entity(destination: DestinationSettings, calling_ae_title: str = "") -> RemoteEntity:
    return RemoteEntity(
        f"destination {destination.name}",
        destination.ae_title,
        destination.host,
        destination.port,
        destination.calling_ae_title or calling_ae_title,
        destination.timeout_seconds,
    )


def _who(destination: DestinationSettings) -> str:
    return str(remote_entity(destination))


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except FileNotFoundError:
        raise DeliveryRefusedError(f"{path.name} is gone; examine the series again") from None
    except InvalidDicomError:
        raise DeliveryRefusedError(f"{path.name} is no DICOM file; examine again") from None


def _contexts(data_sets: Sequence[Dataset]) -> list[PresentationContext]:
    """One context per SOP Class and transfer syntax (PS3.8 9.3.2.2).

    Uncompressed objects are also offered in the default transfer syntax, which every
    destination has to accept (PS3.5 10.1).
    """
    wanted: dict[tuple[UID, UID], None] = {}
    for data_set in data_sets:
        syntax = data_set.file_meta.TransferSyntaxUID
        wanted[(data_set.SOPClassUID, syntax)] = None
        if syntax == ExplicitVRLittleEndian:
            wanted[(data_set.SOPClassUID, ImplicitVRLittleEndian)] = None
    return [build_context(sop_class, syntax) for sop_class, syntax in wanted]


def _store(association: Association, destination: DestinationSettings, data_set: Dataset) -> str:
    """C-STORE one object; the destination's warning, or an empty string."""
    who, uid = _who(destination), data_set.SOPInstanceUID
    try:
        answer = association.send_c_store(data_set)
    except ValueError as error:
        # pynetdicom's word for "no accepted presentation context" and for "can't be encoded".
        raise DeliveryRefusedError(
            f"{who} accepts no presentation context for {data_set.SOPClassUID.name} "
            f"in {data_set.file_meta.TransferSyntaxUID.name}: {error}"
        ) from None
    except RuntimeError:
        raise DestinationAwayError(f"{who} closed the association before {uid} was sent") from None
    if "Status" not in answer:
        raise DestinationAwayError(f"{who} aborted or did not answer in time while taking {uid}")
    return judge(int(answer.Status), who, str(uid))


def judge(status: int, who: str, uid: str) -> str:
    """A warning's sentence, empty on success; raises on every failure status."""
    if status == 0x0000:
        return ""
    if 0xB000 <= status <= 0xBFFF or status in _WARNINGS:
        log.warning("stored with a warning", extra={"instance": uid, "status": f"0x{status:04X}"})
        return f"{who} stored {uid} with warning 0x{status:04X}"
    for statuses, meaning, again in _FAILURES:
        if status in statuses:
            error = DeliveryError if again else DeliveryRefusedError
            raise error(f"{who} answered 0x{status:04X} for {uid}: {meaning}")
    raise DeliveryError(f"{who} answered 0x{status:04X} for {uid}")
