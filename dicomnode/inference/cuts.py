"""Cuts through a volume as images: plain, or with what the networks found drawn on them.

Axial and coronal cuts show the patient's right on the left side, as radiologists read them;
sagittal ones look to the left. Foreground is an outline, anonymised area and face are filled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dicomnode.domain import SegmentKind, View
from dicomnode.inference.profiles import counts
from dicomnode.inference.skin import skin_level

Mask = npt.NDArray[np.uint8]
Value = TypeVar("Value", bound=np.generic)
Colour = tuple[int, int, int]

COLOURS: Mapping[SegmentKind, Colour] = {
    SegmentKind.FOREGROUND: (86, 180, 233),
    SegmentKind.ANONYMISED_AREA: (230, 159, 0),
    SegmentKind.FACE: (204, 51, 17),
}
FILL_SHARE = 0.4
# Soft tissue, skin and what a tool put in its place; bone ends in white.
CT_WINDOW_HU = (-250.0, 450.0)
# A cut shows something where more than this share of its voxels is no air.
LEAST_TISSUE_SHARE = 0.005


# Indices of the palette: greys, the same under both fills, and the three outlines.
_GREYS = 84
_SHADES = (np.arange(256) * _GREYS // 256).astype(np.uint8)


def _palette() -> bytes:
    greys = np.repeat(np.linspace(0.0, 255.0, _GREYS)[:, None], 3, axis=1)
    filled = [
        (1.0 - FILL_SHARE) * greys + FILL_SHARE * np.asarray(COLOURS[kind])
        for kind in (SegmentKind.ANONYMISED_AREA, SegmentKind.FACE)
    ]
    outlines = np.asarray([COLOURS[kind] for kind in SegmentKind])
    colours = np.rint(np.concatenate([greys, *filled, outlines]))
    return bytes(colours.astype(np.uint8))


@dataclass(frozen=True)
class Cut:
    """One cut twice: in grey, and with the masks in the colours of a palette."""

    plain: Image.Image
    marked: Image.Image


@dataclass(frozen=True)
class Plane:
    """`letters` stand at the upper, lower, left and right edge (PS3.3 C.7.6.1.1.1)."""

    axis: int
    letters: tuple[str, str, str, str]


PLANES: Mapping[View, Plane] = {
    View.AXIAL: Plane(0, ("A", "P", "R", "L")),
    View.CORONAL: Plane(1, ("H", "F", "R", "L")),
    View.SAGITTAL: Plane(2, ("H", "F", "A", "P")),
}


@dataclass(frozen=True)
class MarkedVolume:
    """A volume and its masks on one grid: axes (z, y, x) toward head, back and left."""

    array: npt.NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    modality: str
    masks: Mapping[SegmentKind, Mask]

    @cached_property
    def window(self) -> tuple[float, float]:
        """The values that are shown black and white."""
        if self.modality == "CT":
            return CT_WINDOW_HU
        low, high = np.percentile(self._thin, (1.0, 99.5))
        return float(low), float(max(high, low + 1.0))

    @cached_property
    def middle(self) -> tuple[int, int, int]:
        """Of the face, removed or not, where there is one; else of what is no air."""
        found = [kind for kind in _OF_A_FACE if kind in self.masks]
        of_planes = [
            sum((self._counts[kind][axis] for kind in found), np.zeros(1)) for axis in range(3)
        ]
        if not of_planes[0].any():
            return tuple((first + last) // 2 for first, last in map(self.extent, range(3)))  # type: ignore[return-value]
        z, y, x = (int(np.searchsorted(np.cumsum(n), n.sum() / 2)) for n in of_planes)
        return z, y, x

    def extent(self, axis: int) -> tuple[int, int]:
        """First and last cut along `axis` that shows anything; the networks can only widen it."""
        others = tuple(other for other in range(3) if other != axis)
        is_shown = self._solid.mean(axis=others) > LEAST_TISSUE_SHARE
        marked = [np.flatnonzero(of_planes[axis]) for of_planes in self._counts.values()]
        seen = np.concatenate([np.flatnonzero(is_shown) * self._steps[axis], *marked])
        last = self.array.shape[axis] - 1
        return (int(seen.min()), int(seen.max())) if seen.size else (0, last)

    @cached_property
    def _counts(self) -> Mapping[SegmentKind, tuple[npt.NDArray[np.intp], ...]]:
        return {kind: counts(mask) for kind, mask in self.masks.items()}

    @cached_property
    def _solid(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self._thin > skin_level(self._thin, self.modality))

    @cached_property
    def _thin(self) -> npt.NDArray[np.float32]:
        return self.array[tuple(slice(None, None, step) for step in self._steps)]

    @property
    def _steps(self) -> tuple[int, ...]:
        return tuple(max(1, size // 64) for size in self.array.shape)


_OF_A_FACE = (SegmentKind.ANONYMISED_AREA, SegmentKind.FACE)


def draw_cut(
    volume: MarkedVolume, view: View, index: int, side_pixels: int, caption: str = ""
) -> Cut:
    """The cut number `index` of a plane, true to scale; its longer side has `side_pixels`."""
    plane = PLANES[view]
    size = _size(volume, plane, side_pixels)
    low, high = volume.window
    values = _upright(volume.array, plane, index)
    shown = Image.fromarray(np.ascontiguousarray(values)).resize(size, Image.Resampling.BICUBIC)
    grey = np.clip((np.asarray(shown) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    plain = Image.fromarray(grey)
    _write_letters(plain, plane)
    if caption:
        write_text(plain, (4, plain.height - 4), caption, 12, "ld")
    return Cut(plain, _overlaid(plain, _masks_of_cut(volume, plane, index, size)))


def _size(volume: MarkedVolume, plane: Plane, side_pixels: int) -> tuple[int, int]:
    """Width and height."""
    height_mm, width_mm = (
        count * mm
        for axis, (count, mm) in enumerate(zip(volume.array.shape, volume.spacing_mm, strict=True))
        if axis != plane.axis
    )
    scale = side_pixels / max(width_mm, height_mm)
    return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))


def _upright(array: npt.NDArray[Value], plane: Plane, index: int) -> npt.NDArray[Value]:
    """One cut; row 0 of a coronal or sagittal one is at the feet."""
    cut: npt.NDArray[Value] = np.moveaxis(array, plane.axis, 0)[index]
    return cut if plane.axis == 0 else cut[::-1]


def _masks_of_cut(
    volume: MarkedVolume, plane: Plane, index: int, size: tuple[int, int]
) -> Iterator[tuple[SegmentKind, npt.NDArray[np.bool_]]]:
    for kind, mask in volume.masks.items():
        cut = _upright(mask, plane, index)
        if cut.any():
            drawn = Image.fromarray((cut != 0).view(np.uint8) * np.uint8(255))
            yield kind, np.asarray(drawn.resize(size, Image.Resampling.BILINEAR)) > 127


def _overlaid(
    plain: Image.Image, masks: Iterator[tuple[SegmentKind, npt.NDArray[np.bool_]]]
) -> Image.Image:
    """With the colours of `_palette`, which makes a third of the bytes that true colours do."""
    shades = _SHADES[np.asarray(plain)]
    pixels = shades.copy()
    for kind, mask in masks:
        number = list(SegmentKind).index(kind)
        if kind is not SegmentKind.FOREGROUND:
            np.copyto(pixels, shades + np.uint8(number * _GREYS), where=mask)
        pixels[_outline(mask)] = 3 * _GREYS + number
    image = Image.fromarray(pixels, "P")
    image.putpalette(_palette())
    return image


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels of `mask` beside one outside it; the edge of the image is no border."""
    around = np.pad(mask, 1, mode="edge")
    inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inside


def _write_letters(image: Image.Image, plane: Plane) -> None:
    width, height = image.size
    points = max(11, max(image.size) // 32)
    places = ((width / 2, 2, "ma"), (width / 2, height - 2, "md"))
    sides = ((3, height / 2, "lm"), (width - 3, height / 2, "rm"))
    for letter, (x, y, anchor) in zip(plane.letters, (*places, *sides), strict=True):
        write_text(image, (x, y), letter, points, anchor)


def write_text(
    image: Image.Image,
    place: tuple[float, float],
    text: str,
    points: int,
    anchor: str,
    colour: Colour | str = "white",
) -> float:
    """With a black rim, to be read on any ground; returns where it ends on the right."""
    canvas, font, rim = ImageDraw.Draw(image), _font(points), max(1, points // 8)
    canvas.text(place, text, colour, font, anchor=anchor, stroke_width=rim, stroke_fill="black")
    return canvas.textbbox(place, text, font, anchor=anchor)[2]


@cache
def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)
