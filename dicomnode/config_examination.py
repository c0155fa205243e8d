"""`[series]`, `[inference]`, `[evidence]`, `[verdict]`, `[segmentation]`: how to examine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dicomnode.config_values import Section
from dicomnode.domain import SegmentKind


class SeriesSettings(Section):
    """What becomes of series that hold several volumes, or lack what a volume needs."""

    volumes: Literal["every", "first"] = "every"
    maximum_volumes: PositiveInt = 512
    missing_frame_of_reference: Literal["accept", "refuse"] = "accept"


class UseSettings(Section):
    """Which network of a kind looks at which series; a condition that is left out always holds."""

    kind: SegmentKind
    network: Annotated[str, Field(min_length=1)]
    modalities: Annotated[tuple[Literal["CT", "MR"], ...], Field(min_length=1)] | None = None
    body_parts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    finest_spacing_mm: PositiveFloat | None = None
    coarsest_spacing_mm: PositiveFloat | None = None

    @model_validator(mode="after")
    def _ordered(self) -> UseSettings:
        finest, coarsest = self.finest_spacing_mm, self.coarsest_spacing_mm
        if finest is not None and coarsest is not None and finest > coarsest:
            raise ValueError("finest_spacing_mm must not be larger than coarsest_spacing_mm")
        return self


class InferenceSettings(Section):
    """The networks, where they run, and which of them for which series."""

    models_folder: Path | None = None
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    cpu_threads: Annotated[int, Field(ge=0)] = 0
    memory_bytes: Annotated[int, Field(ge=0)] = 0
    tile_step: Annotated[float, Field(gt=0, le=1)] = 0.5
    mirroring: bool = False
    own_resampling: bool = True
    use: tuple[UseSettings, ...] = ()
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @property
    def manner(self) -> str:
        """What decides a mask beside the network itself: a part of every digest of a result."""
        return f"tile step {self.tile_step}, mirroring {self.mirroring}, precision {self.precision}"


class EvidenceSettings(Section):
    """What is asked beside the networks."""

    face_detector: Literal["none", "dlib"] = "none"


class VerdictSettings(Section):
    """Thresholds of the verdict rules, in millilitres; how they were chosen: docs/models.md."""

    minimum_foreground_ml: PositiveFloat = 50.0
    face_visible_ml: PositiveFloat = 35.0
    face_absent_ml: PositiveFloat = 8.0
    face_absent_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    anonymised_present_ml: PositiveFloat = 90.0
    anonymised_absent_ml: PositiveFloat = 20.0
    widest_gap_mm: PositiveFloat = 20.0
    face_found_probability: Annotated[float, Field(gt=0, le=1)] = 0.7
    surface_intact_percent: Annotated[float, Field(gt=0, le=100)] = 40.0
    surface_intact_cm2: PositiveFloat = 20.0

    @model_validator(mode="after")
    def _ordered(self) -> VerdictSettings:
        if self.face_absent_ml > self.face_visible_ml:
            raise ValueError("face_absent_ml must not be larger than face_visible_ml")
        if self.anonymised_absent_ml > self.anonymised_present_ml:
            raise ValueError("anonymised_absent_ml must not be larger than anonymised_present_ml")
        return self


class SegmentationSettings(Section):
    """How the SEG series looks in the PACS."""

    series_number_offset: Annotated[int, Field(ge=0)] = 9000
    series_description: Annotated[str, Field(max_length=64)] = "dicomnode masks"
