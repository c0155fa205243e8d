"""The face detector is asked only where the configuration names it."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dicomnode.app.batch import find
from dicomnode.config import Settings
from dicomnode.domain import Examination, View
from dicomnode.errors import RenderingError
from dicomnode.inference import assessment
from dicomnode.inference.examine import examine
from dicomnode.inference.examiner import examiner_digest
from dicomnode.inference.face_detector import DETECTORS
from dicomnode.inference.rendering import Renderings
from tests.factories import make_series

ASKED = Settings.model_validate({"evidence": {"face_detector": "dlib"}})


def a_picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


class _Sure:
    def probability(self, pictures: Mapping[View, bytes]) -> float:
        return 0.9 if pictures else 0.0


def examined(folder: Path, settings: Settings) -> Examination:
    make_series(folder / "in", slices=8, modality="MR")
    (revision,) = find([folder / "in"]).revisions
    return examine(revision, [], settings, folder / "out")


def test_its_answer_is_kept_and_makes_the_verdict_stricter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def render(array: Any, spacing_mm: Any, modality: str, masks: Any) -> Renderings:
        shapes.append(array.shape)
        return Renderings(plain={View.FRONT: a_picture()})

    monkeypatch.setattr(assessment, "render", render)
    monkeypatch.setattr(assessment, "installed_detector", lambda _: _Sure())
    (volume,) = examined(tmp_path, ASKED).volumes
    assert volume.evidence.face_probability == 0.9
    assert any("sources disagree" in reason for reason in volume.verdict.reasons)
    assert shapes == [volume.evidence.matrix]


def test_nobody_is_asked_by_default(tmp_path: Path) -> None:
    (volume,) = examined(tmp_path, Settings()).volumes
    assert volume.evidence.face_probability is None


def test_a_detector_that_is_not_there_fails_the_examination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomnode.inference.face_detector.find_spec", lambda _: None)
    with pytest.raises(RenderingError, match="pip install"):
        examined(tmp_path, ASKED)


def test_asking_another_detector_makes_another_examiner() -> None:
    assert examiner_digest([], ASKED) != examiner_digest([], Settings())


def test_the_configuration_names_every_detector() -> None:
    for name in DETECTORS:
        Settings.model_validate({"evidence": {"face_detector": name}})
