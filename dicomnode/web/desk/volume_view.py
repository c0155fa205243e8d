"""What the page of a series shows of one volume: pictures by number, evidence, verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicomnode.domain import Evidence, ExaminedVolume, Picture, Verdict, View
from dicomnode.web.desk import facts
from dicomnode.web.desk.facts import Fact

# In the order of the page. Left and right are the patient's.
_VIEWS: Mapping[View, tuple[str, str]] = {
    View.AXIAL: ("Axial", "Axial cut, the patient’s right on the left"),
    View.CORONAL: ("Coronal", "Coronal cut, the patient’s right on the left"),
    View.SAGITTAL: ("Sagittal", "Sagittal cut, the face on the left"),
    View.FRONT: ("Surface, front", "The skin from the front"),
    View.THREE_QUARTER: ("Surface, three quarter", "The skin from the front and one side"),
    View.LEFT: ("Surface, left", "The skin from the patient’s left side"),
    View.RIGHT: ("Surface, right", "The skin from the patient’s right side"),
}
_SURFACES = (View.FRONT, View.THREE_QUARTER, View.LEFT, View.RIGHT)
_SHEETS: Mapping[View, str] = {
    View.AXIAL_SHEET: "Axial contact sheet",
    View.CORONAL_SHEET: "Coronal contact sheet",
    View.SAGITTAL_SHEET: "Sagittal contact sheet",
}
HIDDEN = "Pictures can show a face: your role does not see them."


@dataclass(frozen=True)
class ShownPicture:
    url: str
    width: int
    height: int


@dataclass(frozen=True)
class ShownView:
    """One view, and the same with masks where there is such a picture."""

    label: str
    alt: str
    plain: ShownPicture
    masked: ShownPicture | None
    is_surface: bool


@dataclass(frozen=True)
class Sheet:
    label: str
    alt: str
    picture: ShownPicture


@dataclass(frozen=True)
class VolumeView:
    """`hidden_pictures`: a sentence where the account may not see them; `is_first`: of the page."""

    number: int
    title: str
    verdict: Verdict
    evidence: Evidence
    facts: tuple[Fact, ...]
    views: tuple[ShownView, ...]
    sheets: tuple[Sheet, ...]
    overview: ShownPicture | None
    hidden_pictures: str
    is_first: bool

    @property
    def has_masks(self) -> bool:
        return any(view.masked for view in self.views)


def volume_view(
    volume: ExaminedVolume,
    number: int,
    volume_count: int,
    examination_id: int,
    *,
    with_pictures: bool,
    is_first: bool,
) -> VolumeView:
    place = f"/desk/pictures/{examination_id}/{number}"
    shown = volume.pictures if with_pictures else ()
    pictures = {
        (picture.view, picture.has_masks): _shown(f"{place}/{index}", picture)
        for index, picture in enumerate(shown)
    }
    return VolumeView(
        number=number,
        title=_title(volume, number, volume_count),
        verdict=volume.verdict,
        evidence=volume.evidence,
        facts=facts.evidence(volume.evidence),
        views=_views(pictures),
        sheets=_sheets(pictures),
        overview=pictures.get((View.OVERVIEW, True)),
        hidden_pictures="" if with_pictures else HIDDEN,
        is_first=is_first,
    )


def _title(volume: ExaminedVolume, number: int, volume_count: int) -> str:
    images = f"{volume.images} image{'' if volume.images == 1 else 's'}"
    name = f"Volume {number} of {volume_count}" if volume_count > 1 else "Volume"
    return f"{name}: {volume.label}, {images}" if volume.label else f"{name}, {images}"


def _shown(url: str, picture: Picture) -> ShownPicture:
    return ShownPicture(url, picture.width_pixels, picture.height_pixels)


def _views(pictures: Mapping[tuple[View, bool], ShownPicture]) -> tuple[ShownView, ...]:
    found = []
    for view, (label, alt) in _VIEWS.items():
        plain, masked = pictures.get((view, False)), pictures.get((view, True))
        if plain is not None:
            found.append(ShownView(label, alt, plain, masked, view in _SURFACES))
        elif masked is not None:
            found.append(ShownView(label, f"{alt}, with masks", masked, None, view in _SURFACES))
    return tuple(found)


def _sheets(pictures: Mapping[tuple[View, bool], ShownPicture]) -> tuple[Sheet, ...]:
    return tuple(
        Sheet(label, f"{label}: evenly spaced cuts with masks", pictures[view, True])
        for view, label in _SHEETS.items()
        if (view, True) in pictures
    )
