"""The skin's pictures, of drawn heads; where VTK can't draw they are skipped."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import matplotlib.image
import numpy as np
import pytest

from dicomnode.errors import RenderingError
from dicomnode.inference import rendering
from dicomnode.inference.rendering import View, render
from dicomnode.inference.skin import skin_level, threshold_of
from dicomnode.training.drawn import draw_head

SPACING_MM = (3.0, 3.0, 3.0)


@cache
def pictures() -> dict[View, np.ndarray]:
    pytest.importorskip("vtkmodules")
    head = draw_head(1, "MR", spacing_mm=3.0)
    try:
        found = render(head.array, SPACING_MM, "MR")
    except RenderingError as error:
        pytest.skip(str(error))
    return {view: matplotlib.image.imread(BytesIO(png)) for view, png in found.items()}


def covered(picture: np.ndarray) -> np.ndarray:
    """Where there is a head and no background."""
    return np.abs(picture[..., :3] - rendering.BACKGROUND).max(axis=-1) > 0.05


def test_every_view_is_a_picture_of_a_head() -> None:
    assert set(pictures()) == set(View)
    for picture in pictures().values():
        assert picture.shape[:2] == (rendering.SIZE_PIXELS, rendering.SIZE_PIXELS)
        assert 0.15 < covered(picture).mean() < 0.9


def test_the_patients_left_is_on_the_right_and_the_nose_points_out_of_the_side_views() -> None:
    pytest.importorskip("vtkmodules")
    block = np.zeros((40, 40, 40), np.float32)
    block[10:30, 14:30, 12:28] = 100.0
    block[18:22, 6:14, 18:22] = 100.0  # in front
    block[18:22, 20:24, 28:36] = 100.0  # on the left side
    try:
        found = render(block, SPACING_MM, "MR")
    except RenderingError as error:
        pytest.skip(str(error))
    seen = {view: covered(matplotlib.image.imread(BytesIO(png))) for view, png in found.items()}
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
    first = pictures()[View.FRONT]
    again = matplotlib.image.imread(BytesIO(render(head.array, SPACING_MM, "MR")[View.FRONT]))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_skin_is_between_air_and_tissue(modality: str) -> None:
    head = draw_head(2, "CT" if modality == "CT" else "MR", spacing_mm=4.0)
    solid = head.array > skin_level(head.array, modality)
    assert solid[head.labels == 0].mean() < 0.05
    assert solid[head.foreground].mean() > 0.7


def test_a_volume_of_one_value_has_a_level() -> None:
    assert threshold_of(np.full((4, 4, 4), 7.0, np.float32)) == 7.0


def test_where_nothing_can_be_drawn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "_drawn", _dies)
    with pytest.raises(RenderingError, match="libegl1"):
        render(np.zeros((8, 8, 8), np.float32), SPACING_MM, "MR")


def _dies(*_: object) -> dict[View, bytes]:
    import os

    os._exit(139)
