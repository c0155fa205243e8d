"""One exception tree; what each error costs stands in its docstring.

Every message is written for the person who has to act: what is wrong, where, and what to do.
No message holds a value that identifies a patient.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomnode.domain import Refusal


class DicomnodeError(Exception):
    """The base: costs the operation at hand, never data."""


class ConfigurationError(DicomnodeError):
    """A wrong or unknown key, a bad value: the node refuses to start."""


class PortInUseError(DicomnodeError):
    """Another process listens on the port: this role can't start."""


class DatabaseError(DicomnodeError):
    """The tracking database can't be reached or has another schema version: work stops."""


class SpoolError(DicomnodeError):
    """A file could not be made durable: the sender gets a failure status and keeps its object."""


class OutOfSpaceError(SpoolError):
    """The disk is full: the sender gets 0xA700 and keeps its object."""


class UnreadableObjectError(DicomnodeError):
    """Bytes that are no DICOM object, or a truncated one: answered 0xC000 and recorded."""


class SeriesRefusedError(DicomnodeError):
    """No volume can be made of a series; `refusal` is the record that is kept for it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class DecoderError(DicomnodeError):
    """The machine starts no process for decoding: the examination fails and may be repeated."""


class ModelError(DicomnodeError):
    """A network is missing, its hash is wrong or it can't be loaded: nothing is examined by it."""


class RenderingError(DicomnodeError):
    """No picture, or no answer of a face detector: the examination that needs it fails."""


class TrainingError(DicomnodeError):
    """Networks can't be trained, exported or judged as asked for: nothing is changed."""


class SegmentationError(DicomnodeError):
    """A SEG could not be written, or, decoded again, does not hold the mask: quarantined."""


class ExaminationFailedError(DicomnodeError):
    """An examination ended with an error: it is recorded, the gate holds, a person may retry."""


class ExaminationDiedError(DicomnodeError):
    """The examining process crashed or hung: the series is tried again, not without end."""


class ExaminationPostponedError(DicomnodeError):
    """No memory, disk or examining process just now: the series waits, which counts no attempt."""


class JobError(DicomnodeError):
    """No such job, or none that can be retried or cancelled as it stands: nothing is changed."""


class DecisionError(DicomnodeError):
    """A person's decision that can't be taken as it stands: nothing is recorded."""


class AccountError(DicomnodeError):
    """An account, a password or a token that can't be as asked for: nothing is changed."""


class DefacingError(DicomnodeError):
    """A face can't be removed safely; nothing was changed."""


class NotReadyError(DefacingError):
    """More of a study is on its way, or waits for its examination: it is not copied yet."""


class GateError(DicomnodeError):
    """The gate can't be asked like this (no such folder): nothing is released."""


class ExportError(DicomnodeError):
    """An export, or one study of it, can't go on like this: the ledger says what left before."""


class DeliveryError(DicomnodeError):
    """A destination did not take an object now: the delivery is tried again later."""


class DeliveryRefusedError(DeliveryError):
    """A destination refused an object for good: a person has to look at it."""


class DialectRefusedError(DeliveryRefusedError):
    """A destination refused an object as it was encoded; it may take it in another way."""


class DestinationAwayError(DeliveryError):
    """A destination can't be reached, or ended an association: counted by its circuit."""


class RetrievalError(DicomnodeError):
    """A source did not give what it was asked for: the study stays on the list of pulls."""


class SourceUnavailableError(RetrievalError):
    """A source, or our own receiver, does not work for any study: a backfill stops here."""


class ReceiptError(DicomnodeError):
    """A key or a receipt can't be used: no receipt is issued, or what was given proves nothing."""


class NoticeError(DicomnodeError):
    """People could not be told by a channel: tried again later, and nothing else waits for it."""


class AssociationRejectedError(DestinationAwayError):
    """A peer answers, but not to this AE title or address: its configuration has to be changed.

    `reason` is that of the A-ASSOCIATE-RJ with its source (PS3.8 Table 9-21).
    """

    def __init__(self, message: str, source: int | None, reason: int | None) -> None:
        super().__init__(message)
        self.reason = (source, reason)


# A full or failing disk, a mount that went away or is read-only, no more open files or processes.
_OF_THE_MACHINE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
    }
)


def may_pass(error: BaseException) -> bool:
    """Whether the machine is what failed, so that the same again may go well once it is mended.

    A file that is missing with its folder counts: that is a mount that is not there.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and (
            cause.errno in _OF_THE_MACHINE or _is_without_folder(cause)
        ):
            return True
        cause = cause.__cause__
    return False


def waits_for_the_machine(error: Exception) -> str:
    """What people read of a series whose error `may_pass`."""
    return f"waits until the machine is mended: {sentence(error)}"


def _is_without_folder(error: OSError) -> bool:
    is_path = error.errno == errno.ENOENT and isinstance(error.filename, (str, Path))
    return is_path and not Path(error.filename).parent.is_dir()


def sentence(error: Exception) -> str:
    """What people read of an error whose traceback was logged."""
    if isinstance(error, DicomnodeError):
        return str(error)
    known, name = known_message(error), type(error).__name__
    return f"{name}: {known}" if known else f"{name}, see the log of this moment"


def known_message(error: BaseException) -> str:
    """Ours is written for people; the messages of others may quote what a scanner wrote into a
    header, and are left out."""
    if isinstance(error, DicomnodeError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return ""
