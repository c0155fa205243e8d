"""What every face detector has to keep; those that are not installed here are skipped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO

import matplotlib.image
import numpy as np
import pytest

from dicomnode.domain import View
from dicomnode.errors import RenderingError
from dicomnode.inference.face_detector import DETECTORS, FaceDetector, installed_detector
from dicomnode.inference.rendering import render
from dicomnode.training.drawn import draw_head
from dicomnode.training.drawn_defacing import deface_drawn


class _Brightest:
    """The least that is a detector: the contract can be kept without a package."""

    def probability(self, pictures: Mapping[View, bytes]) -> float:
        shown = [matplotlib.image.imread(BytesIO(png), format="png") for png in pictures.values()]
        return max((float(picture[..., :3].max()) for picture in shown), default=0.0)


@pytest.fixture(params=["brightest", *DETECTORS])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    if request.param == "brightest":
        return _Brightest()
    try:
        return DETECTORS[request.param]()
    except RenderingError as error:
        pytest.skip(str(error))


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    matplotlib.image.imsave(file, pixels, format="png")
    return file.getvalue()


def blank() -> dict[View, bytes]:
    return {view: png(np.zeros((512, 512, 3), np.float32)) for view in View}


def noise() -> dict[View, bytes]:
    rng = np.random.default_rng(1)
    return {view: png(rng.random((512, 512, 3))) for view in View}


def test_a_probability_lies_between_0_and_1(detector: FaceDetector) -> None:
    for pictures in (blank(), noise(), {View.FRONT: noise()[View.FRONT]}):
        assert 0.0 <= detector.probability(pictures) <= 1.0


def test_there_is_no_face_in_nothing(detector: FaceDetector) -> None:
    assert detector.probability({}) == 0.0
    assert detector.probability(blank()) < 0.5


def test_the_same_pictures_have_the_same_probability(detector: FaceDetector) -> None:
    pictures = noise()
    assert detector.probability(pictures) == detector.probability(dict(pictures))


@cache
def drawn(defaced: bool) -> Mapping[View, bytes]:
    head = draw_head(1, "CT")
    array = deface_drawn(head, "face_box:air", 1)[0] if defaced else head.array
    try:
        return render(array, (2.0, 2.0, 2.0), "CT").plain
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", list(DETECTORS))
def test_a_face_is_found_until_it_is_removed(name: str) -> None:
    try:
        detector = DETECTORS[name]()
    except RenderingError as error:
        pytest.skip(str(error))
    assert detector.probability(drawn(defaced=False)) > 0.7
    assert detector.probability(drawn(defaced=True)) < 0.3


def test_none_asks_nobody() -> None:
    assert installed_detector("none") is None
