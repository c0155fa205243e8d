"""The rules of one research project: `[gate]` for the project "default", `[projects.NAME]` others.

Everything that is left out is strict: a key can only be what lets more pass.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from dicomnode.domain import RefusalCode, VerdictKind

DEFAULT_PROJECT = "default"
ProjectName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
# They never pass without a person, and only where every better verdict may: see docs/policies.md.
DOUBTFUL = (VerdictKind.UNDETERMINED, VerdictKind.FACE_VISIBLE)


class GateSettings(BaseModel):
    """What may leave for a project; everything else holds.

    `review_verdicts` and `review_refusals` pass only where they are among those that pass and
    `persons_needed` different persons have decided. `modalities`: None lets any leave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    review_verdicts: tuple[VerdictKind, ...] = ()
    pass_verdicts: tuple[VerdictKind, ...] = (VerdictKind.DEFACED,)
    review_refusals: tuple[RefusalCode, ...] = ()
    pass_refusals: tuple[RefusalCode, ...] = ()
    persons_needed: Literal[1, 2] = 1
    modalities: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    patient_identity_removed: bool = False
    no_recognizable_visual_features: bool = False
    no_burned_in_annotation: bool = False
    other_file_suffixes: tuple[Annotated[str, Field(pattern=r"^\.[a-z0-9_.-]+$")], ...] = ()

    @field_validator("pass_verdicts")
    @classmethod
    def _doubts_need_a_person(
        cls, passing: tuple[VerdictKind, ...], info: ValidationInfo
    ) -> tuple[VerdictKind, ...]:
        reviewed = info.data.get("review_verdicts", ())
        for doubt in (kind for kind in DOUBTFUL if kind in passing):
            if doubt not in reviewed:
                raise ValueError(f"{doubt} needs a person: name it in review_verdicts too")
            better = [kind for kind in VerdictKind if kind.severity < doubt.severity]
            if absent := [kind for kind in better if kind not in passing]:
                raise ValueError(f"{doubt} can't pass where {absent[0]}, which is better, does not")
        return passing
