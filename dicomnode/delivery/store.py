"""Storage SCU and Verification SCU (PS3.4 Annex B and Annex A): SEGs to a destination."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from dicomnode.config import DestinationSettings, TransferSyntax
from dicomnode.delivery.association import RemoteEntity, associated
from dicomnode.errors import (
    DeliveryError,
    DeliveryRefusedError,
    DestinationAwayError,
    DialectRefusedError,
)

log = logging.getLogger("dicomnode.delivery")

VERIFICATION_SOP_CLASS = "1.2.840.10008.1.1"

# C-STORE statuses that are neither success nor warning (PS3.4 Table B.2-1, PS3.7 Annex C):
# what a sentence says of them, and what follows. What is not in this table is tried again: a
# delivery that gives up too early loses a result.
_FAILURES: tuple[tuple[range, str, type[DeliveryError]], ...] = (
    (range(0xA700, 0xA800), "out of resources", DeliveryError),
    (range(0xA900, 0xAA00), "the object does not match its SOP Class", DialectRefusedError),
    (range(0xC000, 0xD000), "the destination can't understand the object", DialectRefusedError),
    (range(0x0117, 0x0118), "invalid SOP Instance UID", DeliveryRefusedError),
    (range(0x0122, 0x0123), "SOP Class not supported", DeliveryRefusedError),
    (range(0x0124, 0x0125), "not authorised", DeliveryError),
    (range(0x0110, 0x0111), "processing failure", DeliveryError),
)
# 0x0111, Duplicate SOP Instance: result UIDs are a function of the content, so what the
# destination already has is this object, sent before an interruption.
_WARNINGS = (0x0001, 0x0107, 0x0111, 0x0116)


TRANSFER_SYNTAXES: Mapping[TransferSyntax, UID] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


@dataclass(frozen=True)
class Sent:
    """The destination's warnings, one sentence each, and how it took the objects."""

    warnings: tuple[str, ...]
    transfer_syntax: TransferSyntax


def send(destination: DestinationSettings, files: Sequence[Path], calling_ae_title: str) -> Sent:
    """Store every file at the destination over one association; sending twice is harmless.

    What it refuses in one of its transfer syntaxes is sent in the next one. Raises `DeliveryError`
    when it may succeed later, `DeliveryRefusedError` when the destination, or the file, rules it
    out, and `OSError` where a file can't be read.
    """
    data_sets = [_read(path) for path in files]
    refusals: list[str] = []
    for name in destination.transfer_syntaxes:
        try:
            return Sent(_send_in(destination, data_sets, calling_ae_title, name), name)
        except DialectRefusedError as error:
            refusals.append(f"{name}: {error}")
    raise DeliveryRefusedError(
        f"refused in every transfer syntax ({'; '.join(refusals)}). Configure the destination, or "
        "its transfer_syntaxes, then: dicomnode jobs retry"
    )


def _send_in(
    destination: DestinationSettings,
    data_sets: Sequence[Dataset],
    calling_ae_title: str,
    name: TransferSyntax,
) -> tuple[str, ...]:
    """Over an association that offers no other transfer syntax; raises `DialectRefusedError`."""
    contexts = _contexts(data_sets, TRANSFER_SYNTAXES[name])
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
        destination.tls,
    )


def _who(destination: DestinationSettings) -> str:
    return str(remote_entity(destination))


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except InvalidDicomError:
        raise DeliveryRefusedError(f"{path.name} is no DICOM file; examine again") from None


def _contexts(data_sets: Sequence[Dataset], syntax: UID) -> list[PresentationContext]:
    """One context per SOP Class (PS3.8 9.3.2.2); what is compressed is sent as it is."""
    wanted: dict[tuple[UID, UID], None] = {}
    for data_set in data_sets:
        own = data_set.file_meta.TransferSyntaxUID
        wanted[(data_set.SOPClassUID, own if own.is_compressed else syntax)] = None
    return [build_context(sop_class, syntax) for sop_class, syntax in wanted]


def _store(association: Association, destination: DestinationSettings, data_set: Dataset) -> str:
    """C-STORE one object; the destination's warning, or an empty string."""
    who, uid = _who(destination), data_set.SOPInstanceUID
    try:
        answer = association.send_c_store(data_set)
    except ValueError as error:
        # pynetdicom's word for "no accepted presentation context" and for "can't be encoded".
        raise DialectRefusedError(
            f"{who} accepts no presentation context for {data_set.SOPClassUID.name}: {error}"
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
    for statuses, meaning, error in _FAILURES:
        if status in statuses:
            raise error(f"{who} answered 0x{status:04X} for {uid}: {meaning}")
    raise DeliveryError(f"{who} answered 0x{status:04X} for {uid}")
