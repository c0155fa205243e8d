"""The work itself, given by the wiring; the engine knows no network and no protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.config import DestinationSettings
from dicomnode.delivery.proof import ask_commitment, has_instance
from dicomnode.delivery.store import Sent, echo
from dicomnode.dicom.storage_commitment import Report, Request
from dicomnode.domain import CopyOrder, CopySeries, Examination, Revision, SeriesCopy
from dicomnode.errors import ExaminationFailedError


def no_copies(_: CopyOrder) -> SeriesCopy:
    raise ExaminationFailedError("this worker removes no faces")


@dataclass(frozen=True)
class Stages:
    """`examine` returns volumes or refusals and raises where it fails: `ExaminationDiedError` and
    `ExaminationPostponedError` where another try may not. So does `copy`, without faces. The
    others are those of `dicomnode.delivery`."""

    examine: Callable[[Revision], Examination]
    deliver: Callable[[DestinationSettings, Sequence[Path], str], Sent]
    copy: CopySeries = no_copies
    echo: Callable[[DestinationSettings, str], None] = echo
    has_instance: Callable[[DestinationSettings, str, str, str, str], bool] = has_instance
    ask_commitment: Callable[[DestinationSettings, str, Request], Report | None] = ask_commitment
