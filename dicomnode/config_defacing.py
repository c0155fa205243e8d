"""How faces are removed, and names: `[defacing]` and `[deidentification]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from dicomnode.config_values import Section


class DefacingSettings(Section):
    """`outward_mm`, `inward_mm`: how far the face network's mask grows, and how much deeper.

    `spare_orbits`: of what lies deep, eyes and orbits too, only the network's own mask goes.
    """

    fill: Literal["noise", "constant", "blur"] = "noise"
    outward_mm: PositiveFloat = 8.0
    inward_mm: Annotated[float, Field(ge=0)] = 1.0
    ears: Literal["keep", "remove"] = "keep"
    spare_orbits: bool = False
    series_description_suffix: Annotated[str, Field(max_length=24)] = "defaced"

    @property
    def method(self) -> str:
        """A part of every UID of a result: another way to deface makes other objects."""
        said = f"fill {self.fill}, outward {self.outward_mm} mm, inward {self.inward_mm} mm"
        more = {"ears removed": self.ears == "remove", "orbits spared": self.spare_orbits}
        return ", ".join((said, *(words for words, is_so in more.items() if is_so)))


class DeidentificationSettings(Section):
    """The Basic Profile of PS3.15 Annex E and the options that it leaves to a project."""

    key_file: Path | None = None
    dates: Literal["shift", "remove"] = "shift"
    retain_patient_characteristics: bool = False
    retain_device_identity: bool = False

    @property
    def method(self) -> str:
        """What tells it from another way; a new key belongs into a file of another name."""
        return self.model_dump_json()
