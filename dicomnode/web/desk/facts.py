"""The evidence of a volume and the thresholds of the rules, as names and values with units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dicomnode.config import VerdictSettings
from dicomnode.domain import Acquisition, Evidence, FaceSurface, HeaderClaims, SegmentKind
from dicomnode.web.desk import words
from dicomnode.web.desk.templating import number


@dataclass(frozen=True)
class Fact:
    """A row of a table of two columns; `remark` is set smaller behind the value."""

    name: str
    value: str
    remark: str = ""


def evidence(found: Evidence) -> tuple[Fact, ...]:
    return (
        *_volumes(found),
        *_surface(found.face_surface),
        Fact("Face detector", _detector(found.face_probability), "probability of a face, 0 to 1"),
        *_geometry(found),
        *_acquisition(found.acquisition),
        *claims(found.claims),
    )


def _volumes(found: Evidence) -> Iterator[Fact]:
    for kind in SegmentKind:
        if (ml := found.volumes_ml.get(kind)) is not None:
            largest = number(found.largest_component_ml.get(kind), 0, "ml")
            yield Fact(
                _capital(words.SEGMENTS[kind]), number(ml, 0, "ml"), f"in one piece {largest}"
            )
        else:
            why = found.unanswered.get(kind, "no network looked")
            yield Fact(_capital(words.SEGMENTS[kind]), "not measured", why)
    yield Fact("Exposed face", number(found.exposed_face_ml, 0, "ml"), "the outside can see it")


def _surface(surface: FaceSurface | None) -> Iterator[Fact]:
    if surface is None:
        yield Fact("Face’s surface", "not measured")
        return
    yield Fact("Face’s surface in view", number(surface.area_cm2, 0, "cm²"))
    yield Fact("of it anonymised", number(surface.anonymised_percent, 0, "%"))
    yield Fact("of it intact skin", number(surface.intact_percent, 0, "%"))
    if surface.parts is None:
        yield Fact("Parts of the face in view", "can’t be told")
    else:
        yield Fact("Parts of the face in view", ", ".join(surface.parts) or "none")


def _detector(probability: float | None) -> str:
    return "not asked" if probability is None else f"{probability:.2f}"


def _geometry(found: Evidence) -> Iterator[Fact]:
    grid = " × ".join(map(str, found.matrix))
    spacing = " × ".join(f"{mm:.2f}" for mm in found.spacing_mm)
    yield Fact("Grid that was examined", f"{grid} voxels of {spacing} mm", "z × y × x")
    extent = " × ".join(f"{mm:.0f}" for mm in found.field_of_view_mm)
    yield Fact("Field of view", f"{extent} mm", "z × y × x")
    if found.widest_gap_mm:
        gap = f"face or anonymised area in it {number(found.face_in_gaps_ml, 0, 'ml')}"
        yield Fact("Widest gap of missing slices", number(found.widest_gap_mm, 0, "mm"), gap)


def _acquisition(known: Acquisition) -> Iterator[Fact]:
    """What a policy asks of the kind of series; what isn’t known counts as the stricter answer."""
    spacing = known.slice_spacing_mm
    yield Fact("Slices as sent", "not known" if spacing is None else f"{spacing:.1f} mm apart")
    for name, values in (
        ("(0008,0008) Image Type", known.image_types),
        ("(0018,0020) Scanning Sequence", known.scanning_sequences),
    ):
        yield Fact(name, "not known" if values is None else _said(", ".join(values)))


def claims(said: HeaderClaims) -> tuple[Fact, ...]:
    """What the headers say: claims, never proof (PS3.3 C.7.1.1, C.12.1)."""
    return (
        Fact("(0012,0062) Patient Identity Removed", _said(said.patient_identity_removed)),
        Fact(
            "(0012,0063) De-identification Method", _said("; ".join(said.deidentification_method))
        ),
        Fact("(0012,0064) its codes", _codes(said.deidentification_codes)),
        Fact("(0028,0302) Recognizable Visual Features", _said(said.recognizable_visual_features)),
        Fact("(0028,0301) Burned In Annotation", _said(said.burned_in_annotation)),
        Fact("(0018,0015) Body Part Examined", _said(said.body_part_examined)),
    )


_CLEANED = "113102/DCM"


def _codes(codes: tuple[str, ...]) -> str:
    meaning = {_CLEANED: f"{_CLEANED} (clean recognizable visual features)"}
    return _said(", ".join(meaning.get(code, code) for code in codes))


def _said(value: str | None) -> str:
    return value or "says nothing"


def thresholds(settings: VerdictSettings) -> tuple[Fact, ...]:
    """Every threshold of `[verdict]`, by its key, with the unit that the key ends in."""
    return tuple(_threshold(key, value) for key, value in settings.model_dump().items())


_UNITS = {
    "ml": "ml",
    "mm": "mm",
    "cm2": "cm²",
    "percent": "%",
    "share": "of the anonymised area",
    "probability": "of 0 to 1",
}
# Of the others the key says more than the unit does.
_TOLD_BY_UNIT = ("ml", "mm")


def _threshold(key: str, value: float) -> Fact:
    name, _, unit = key.rpartition("_")
    shown = name if unit in _TOLD_BY_UNIT else key
    return Fact(_capital(shown.replace("_", " ")), f"{value:g} {_UNITS.get(unit, unit)}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
