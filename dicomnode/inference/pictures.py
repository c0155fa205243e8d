"""What a person looks at: every picture of an examined volume, made once, by the worker.

A picture can show a face. It stays in the data folder, readable by the node's account alone.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from dicomnode.domain import Picture, Verdict, View
from dicomnode.errors import RenderingError
from dicomnode.inference.cuts import COLOURS, PLANES, Cut, MarkedVolume, draw_cut, write_text
from dicomnode.inference.rendering import Renderings

SIDE_PIXELS = 640
TILE_PIXELS = 256
COLUMNS, ROWS = 5, 4
OVERVIEW_PIXELS = 320
BAR_PIXELS = 30
SHEETS = {
    View.AXIAL: View.AXIAL_SHEET,
    View.CORONAL: View.CORONAL_SHEET,
    View.SAGITTAL: View.SAGITTAL_SHEET,
}
# Flat grey and soft skin: more effort makes the files a tenth smaller and takes twice as long.
PNG_EFFORT = 4

Drawn = tuple[View, bool, bytes]


@dataclass(frozen=True)
class DrawnCuts:
    """What needs neither skin nor verdict: the middle cuts, and the files of cuts and sheets."""

    middle: Mapping[View, Cut]
    files: tuple[Drawn, ...]


def draw_cuts(volume: MarkedVolume, *, only_overview: bool = False) -> DrawnCuts:
    """`only_overview`: no files but what the overview shows."""
    middle = {view: _middle_cut(volume, view) for view in PLANES}
    return DrawnCuts(middle, () if only_overview else tuple(_files_of_cuts(volume, middle)))


def write_pictures(
    folder: Path,
    suffix: str,
    volume: MarkedVolume,
    verdict: Verdict,
    skin: Renderings,
    *,
    only_overview: bool = False,
    cuts: DrawnCuts | None = None,
) -> tuple[Picture, ...]:
    """PNGs in `folder`, their names ending in `suffix`; raises `RenderingError`.

    The overview shows the three cuts and the skin; the other pictures are each with and without
    masks, but for the sheets, which have them. `only_overview` makes no other. `cuts` may have
    been drawn before.
    """
    cuts = cuts or draw_cuts(volume, only_overview=only_overview)
    overview = (View.OVERVIEW, True, _png(_overview(volume, verdict, cuts.middle, skin)))
    rest = () if only_overview else (*cuts.files, *_files_of_skin(skin))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_write(folder, suffix, *drawn) for drawn in (overview, *rest))
    except OSError as error:
        raise RenderingError(f"{folder}: a picture could not be written: {error}") from error


def _files_of_cuts(volume: MarkedVolume, cuts: Mapping[View, Cut]) -> Iterator[Drawn]:
    for view, cut in cuts.items():
        yield view, False, _png(cut.plain)
        yield view, True, _png(cut.marked)
        yield SHEETS[view], True, _png(_sheet(volume, view))


def _files_of_skin(skin: Renderings) -> Iterator[Drawn]:
    for view, png in skin.plain.items():
        yield view, False, png
    for view, png in skin.marked.items():
        yield view, True, png


def _middle_cut(volume: MarkedVolume, view: View) -> Cut:
    return draw_cut(volume, view, volume.middle[PLANES[view].axis], SIDE_PIXELS)


def _sheet(volume: MarkedVolume, view: View) -> Image.Image:
    """Evenly spaced cuts from the head, front or right side on; millimetres from the first."""
    axis = PLANES[view].axis
    first, last = volume.extent(axis)
    count = min(COLUMNS * ROWS, last - first + 1)
    # In the middle of equal parts: the very first and last cut only graze the skin.
    places = first + (np.arange(count) + 0.5) * (last - first + 1) / count
    order = (places[::-1] if axis == 0 else places).astype(int)
    tiles = []
    for index in order:
        away_mm = abs(index - order[0]) * volume.spacing_mm[axis]
        caption = f"{away_mm:.0f} mm"
        tiles.append(draw_cut(volume, view, int(index), TILE_PIXELS, caption).marked)
    return _grid(tiles)


def _grid(tiles: list[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("P", (COLUMNS * (width + 2), rows * (height + 2)))
    sheet.putpalette(tiles[0].getpalette() or ())
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        sheet.paste(tile, (column * (width + 2), row * (height + 2)))
    return sheet


def _overview(
    volume: MarkedVolume, verdict: Verdict, cuts: Mapping[View, Cut], skin: Renderings
) -> Image.Image:
    sides = {**skin.plain, **skin.marked}
    faces = [Image.open(BytesIO(sides[view])) for view in _FACES if view in sides]
    shown = [_fitted(image) for image in (*(cut.marked for cut in cuts.values()), *faces)]
    side = OVERVIEW_PIXELS + 4
    sheet = Image.new("RGB", (len(shown) * side, side + BAR_PIXELS))
    for number, image in enumerate(shown):
        left, top = (side - image.width) // 2, (side - image.height) // 2
        sheet.paste(image, (number * side + left, BAR_PIXELS + top))
    end = write_text(sheet, (8, BAR_PIXELS / 2), verdict.kind, 16, "lm")
    for kind, mask in volume.masks.items():
        ml = np.count_nonzero(mask) * np.prod(volume.spacing_mm) / 1000.0
        text = f"{kind.value.replace('_', ' ')} {ml:.0f} ml"
        end = write_text(sheet, (end + 20, BAR_PIXELS / 2), text, 16, "lm", COLOURS[kind])
    return sheet


_FACES = (View.FRONT, View.THREE_QUARTER)


def _fitted(image: Image.Image) -> Image.Image:
    scale = OVERVIEW_PIXELS / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", compress_level=PNG_EFFORT)
    return file.getvalue()


def _write(folder: Path, suffix: str, view: View, has_masks: bool, png: bytes) -> Picture:
    """Whole or not at all, for the node's account alone: what is replaced may be being shown."""
    masks = "-masks" if has_masks and view not in _ALWAYS_WITH_MASKS else ""
    path = folder / f"{view.value.replace('_', '-')}{masks}{suffix}.png"
    handle, name = tempfile.mkstemp(dir=folder, prefix=".picture-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(png)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    with Image.open(BytesIO(png)) as image:
        width, height = image.size
    return Picture(view, has_masks, path, hashlib.sha256(png).hexdigest(), width, height)


_ALWAYS_WITH_MASKS = (View.OVERVIEW, *SHEETS.values())
