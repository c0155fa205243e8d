"""Does a face detector, which knows nothing of the networks, find a face in the skin's pictures?

CTA-DEFACE (Mahmutoglu et al. 2024) judged defacing that way. A detector is a plug-in: one class,
one line in `DETECTORS`, and it passes `tests/contract/test_face_detector.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dicomnode.domain import View
from dicomnode.errors import RenderingError


class FaceDetector(Protocol):
    """Ready to look."""

    def probability(self, pictures: Mapping[View, bytes]) -> float:
        """That a face can be seen, from 0 to 1; of no pictures 0."""
        ...


class DlibDetector:
    """dlib's CNN (max-margin object detection, King 2015) with the weights of its author.

    Its confidence, about 1 for a clear face, is cut to 0 to 1: a score, not a frequency. It looks
    where the eyes and the mouth would be; it was not made for profiles.
    """

    VIEWS = (View.FRONT, View.THREE_QUARTER)

    def __init__(self) -> None:
        """Raises `RenderingError` where dlib or its weights are not installed."""
        # Not imported: its only code needs a pkg_resources that current setuptools lack.
        weights = find_spec("face_recognition_models")
        if find_spec("dlib") is None or weights is None or weights.origin is None:
            advice = "pip install 'dicomnode[surface,face-detector]'"
            raise RenderingError(f"the face detector dlib is not installed: {advice}")
        import dlib

        file = Path(weights.origin).parent / "models" / "mmod_human_face_detector.dat"
        self._network: Any = dlib.cnn_face_detection_model_v1(str(file))

    def probability(self, pictures: Mapping[View, bytes]) -> float:
        found = [
            float(face.confidence)
            for view in self.VIEWS
            if view in pictures
            for face in self._network(_pixels(pictures[view]), 0)
        ]
        return round(min(max(found, default=0.0), 1.0), 3)


DETECTORS: Mapping[str, Callable[[], FaceDetector]] = MappingProxyType({"dlib": DlibDetector})


@cache
def installed_detector(name: str) -> FaceDetector | None:
    """The detector of `[evidence] face_detector`, loaded once; None for "none"."""
    return None if name == "none" else DETECTORS[name]()


def _pixels(png: bytes) -> npt.NDArray[np.uint8]:
    from matplotlib.image import imread

    shown = np.asarray(imread(BytesIO(png), format="png"))[..., :3]
    return np.ascontiguousarray(np.rint(shown * 255.0), dtype=np.uint8)
