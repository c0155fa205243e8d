"""`[retention]`: when the files of what is done with make room."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from dicomnode.config_values import Section
from dicomnode.domain import RefusalCode, VerdictKind


class RetentionSettings(Section):
    """`days` are counted from the last that happened to a series: receipt, verdict, delivery,
    decision. `needs_no_person`: what else has to be decided on before it may go.
    """

    remove: Literal["never", "when_full", "always"] = "when_full"
    used_percent: Annotated[float, Field(gt=0, lt=100)] = 85.0
    days: Annotated[float, Field(ge=0)] = 30.0
    needs_no_person: tuple[VerdictKind | RefusalCode, ...] = (
        VerdictKind.DEFACED,
        VerdictKind.NO_FACE_IN_VIEW,
    )
    poll_seconds: PositiveFloat = 60.0
