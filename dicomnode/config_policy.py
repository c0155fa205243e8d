"""The rules of one research project: `[gate]` for the project "default", `[projects.NAME]` others.

Everything that is left out is strict: a key can only be what lets more pass.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    Field,
    PositiveFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dicomnode.config_defacing import DeidentificationSettings
from dicomnode.config_values import Section
from dicomnode.domain import RefusalCode, VerdictKind

DEFAULT_PROJECT = "default"
ProjectName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
# They never pass without a person, and only where every better verdict may: see docs/policies.md.
DOUBTFUL = (VerdictKind.UNDETERMINED, VerdictKind.FACE_VISIBLE)


class Demand(StrEnum):
    """What a kind of series needs beside a verdict that passes, the least first."""

    NOTHING = "nothing"
    PERSON = "person"
    HOLD = "hold"

    @property
    def severity(self) -> int:
        return list(Demand).index(self)


Words = Annotated[tuple[str, ...], Field(min_length=1)]


class SeriesRule(Section):
    """A row of the table of series: what a volume needs where all of these conditions hold.

    A condition that is left out always holds. `image_types` and `scanning_sequences`: any of these
    words stands in (0008,0008) or (0018,0020) of any image.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    needs: Demand
    modalities: Words | None = None
    slices_at_least_mm: PositiveFloat | None = None
    volumes_at_least: Annotated[int, Field(ge=2)] | None = None
    image_types: Words | None = None
    scanning_sequences: Words | None = None

    @model_validator(mode="after")
    def _has_a_condition(self) -> SeriesRule:
        if not self.model_dump(exclude={"name", "needs"}, exclude_none=True):
            raise ValueError("a rule without a condition: say what it is about")
        return self


# Kinds that the networks have seen little of, or whose faces are coarse: a person looks at them.
STRICT_SERIES = (
    SeriesRule(name="thick slices", slices_at_least_mm=4.0, needs=Demand.PERSON),
    SeriesRule(name="many volumes", volumes_at_least=10, needs=Demand.PERSON),
    SeriesRule(
        name="echo-planar",
        modalities=("MR",),
        scanning_sequences=("EP",),
        needs=Demand.PERSON,
    ),
    SeriesRule(
        name="reformatted",
        image_types=("MPR", "PROJECTION IMAGE", "REFORMATTED"),
        needs=Demand.PERSON,
    ),
)


class GateSettings(Section):
    """What may leave for a project; everything else holds.

    `review_verdicts` and `review_refusals` pass only where they are among those that pass and
    `persons_needed` different persons have decided. `modalities`: None lets any leave.
    `requires_face_detector`: the independent face detector has to have looked at every volume. The
    first row of `series` whose conditions hold counts; rows only ever ask for more. `deface`
    decides nothing: it has the node copy what shows a face, without it. `deidentify`: copies that
    the node makes for the project name nobody, and no copy with names leaves for it.
    """

    review_verdicts: tuple[VerdictKind, ...] = ()
    pass_verdicts: tuple[VerdictKind, ...] = (VerdictKind.DEFACED,)
    review_refusals: tuple[RefusalCode, ...] = ()
    pass_refusals: tuple[RefusalCode, ...] = ()
    persons_needed: Literal[1, 2] = 1
    modalities: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    patient_identity_removed: bool = False
    no_recognizable_visual_features: bool = False
    no_burned_in_annotation: bool = False
    pass_burned_in_annotation: bool = False
    requires_face_detector: bool = False
    deface: Literal["on_request", "automatic"] = "on_request"
    deidentify: bool = False
    series: tuple[SeriesRule, ...] = STRICT_SERIES
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


class ProjectSettings(GateSettings):
    """`[projects.NAME]`: its policy, and how headers are de-identified for it."""

    deidentification: DeidentificationSettings = DeidentificationSettings()

    @model_validator(mode="after")
    def _has_a_key(self) -> ProjectSettings:
        if self.deidentify and self.deidentification.key_file is None:
            raise ValueError("deidentify needs deidentification.key_file, a key of its own")
        return self
