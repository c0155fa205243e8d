"""The skin's pictures, of drawn heads; where VTK can't draw they are skipped."""

from __future__ import annotations

import sys
from functools import cache
from io import BytesIO

import matplotlib.image
import numpy as np
import pytest

from dicomnode.domain import SegmentKind, View
from dicomnode.errors import RenderingError
from dicomnode.inference import rendering
from dicomnode.inference.rendering import Renderings, render
from dicomnode.inference.skin import skin_level, threshold_of
from dicomnode.inference.skin_scene import BACKGROUND, CAMERAS, SIZE_PIXELS
from dicomnode.training.drawn import draw_head

SPACING_MM = (3.0, 3.0, 3.0)


def rendered(array: np.ndarray, **masks: np.ndarray) -> Renderings:
    pytest.importorskip("vtkmodules")
    found = {SegmentKind(kind): mask.astype(np.uint8) for kind, mask in masks.items()}
    try:
        return render(array, SPACING_MM, "MR", found)
    except RenderingError as error:
        pytest.skip(str(error))


def pixels(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(BytesIO(png))


@cache
def pictures() -> dict[View, np.ndarray]:
    found = rendered(draw_head(1, "MR", spacing_mm=3.0).array)
    return {view: pixels(png) for view, png in found.plain.items()}


def covered(picture: np.ndarray) -> np.ndarray:
    """Where there is a head and no background."""
    return np.abs(picture[..., :3] - BACKGROUND).max(axis=-1) > 0.05


def test_every_view_is_a_picture_of_a_head() -> None:
    assert set(pictures()) == set(CAMERAS)
    for picture in pictures().values():
        assert picture.shape[:2] == (SIZE_PIXELS, SIZE_PIXELS)
        assert 0.15 < covered(picture).mean() < 0.9


def test_the_patients_left_is_on_the_right_and_the_nose_points_out_of_the_side_views() -> None:
    block = np.zeros((40, 40, 40), np.float32)
    block[10:30, 14:30, 12:28] = 100.0
    block[18:22, 6:14, 18:22] = 100.0  # in front
    block[18:22, 20:24, 28:36] = 100.0  # on the left side
    seen = {view: covered(pixels(png)) for view, png in rendered(block).plain.items()}
    assert _points_to(seen[View.FRONT]) == "right"
    assert _points_to(seen[View.LEFT]) == "left"
    assert _points_to(seen[View.RIGHT]) == "right"


def _points_to(seen: np.ndarray) -> str:
    """The side on which something thin stands out."""
    heights = seen.sum(axis=0)
    columns = np.flatnonzero(heights)
    return "left" if heights[columns[0] + 5] < heights[columns[-1] - 5] else "right"


def test_pictures_are_the_same_for_the_same_volume() -> None:
    head = draw_head(1, "MR", spacing_mm=3.0)
    again = rendered(head.array).plain[View.FRONT]
    assert np.array_equal(pictures()[View.FRONT], pixels(again))


def test_masks_never_change_the_plain_pictures() -> None:
    head = draw_head(1, "MR", spacing_mm=3.0)
    found = rendered(head.array, anonymised_area=head.labels == 0, face=head.face)
    assert np.array_equal(pictures()[View.FRONT], pixels(found.plain[View.FRONT]))


def test_a_face_is_red_and_what_was_removed_before_it_is_orange() -> None:
    block = np.zeros((40, 40, 40), np.float32)
    block[10:30, 14:30, 12:28] = 100.0
    face, removed = np.zeros_like(block), np.zeros_like(block)
    face[20:30, 14:18, 12:28] = 1
    removed[10:19, 8:14, 12:28] = 1
    marked = rendered(block, face=face, anonymised_area=removed).marked[View.FRONT]
    red, green, blue = np.moveaxis(pixels(marked)[..., :3], -1, 0)
    upper, lower = slice(150, 230), slice(300, 380)
    middle = slice(200, 312)
    assert (red > 2.5 * green)[upper, middle].mean() > 0.8
    assert ((red > green) & (green > 2.5 * blue))[lower, middle].mean() > 0.8


def test_a_volume_without_a_surface_has_empty_pictures() -> None:
    nothing = np.zeros((12, 12, 12), np.float32)
    found = rendered(nothing, anonymised_area=nothing + 1)
    assert set(found.plain) == set(found.marked) == set(CAMERAS)
    assert not covered(pixels(found.plain[View.FRONT])).any()


def test_where_nothing_was_found_nothing_is_marked() -> None:
    assert rendered(draw_head(1, "MR", spacing_mm=3.0).array).marked == {}


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_skin_is_between_air_and_tissue(modality: str) -> None:
    head = draw_head(2, "CT" if modality == "CT" else "MR", spacing_mm=4.0)
    solid = head.array > skin_level(head.array, modality)
    assert solid[head.labels == 0].mean() < 0.05
    assert solid[head.foreground].mean() > 0.7


def test_a_volume_of_one_value_has_a_level() -> None:
    assert threshold_of(np.full((4, 4, 4), 7.0, np.float32)) == 7.0


@pytest.mark.parametrize(
    ("code", "message"),
    [("import os; os.abort()", "libegl1"), ("exit(3)", "pip install"), ("exit(1)", "can't draw")],
)
def test_where_nothing_can_be_drawn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    monkeypatch.setattr(rendering, "PROGRAM", (sys.executable, "-c", code))
    with pytest.raises(RenderingError, match=message):
        render(np.zeros((8, 8, 8), np.float32), SPACING_MM, "MR")


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "PROGRAM", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(rendering, "LONGEST_SECONDS", 0.5)
    with pytest.raises(RenderingError, match="did not draw"):
        render(np.zeros((8, 8, 8), np.float32), SPACING_MM, "MR")
