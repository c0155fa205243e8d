"""Short ways to the stacks of drawn series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dicomnode.config import SeriesSettings
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.errors import SeriesRefusedError


def only_stack(paths: Sequence[Path], settings: SeriesSettings | None = None) -> SourceStack:
    """Of a series that is one volume and nothing else; raises what was set aside first."""
    found = sort_series(paths, settings)
    if found.set_aside:
        raise SeriesRefusedError(found.set_aside[0].refusal)
    (stack,) = found.stacks
    return stack
