"""A verdict is bound to what made it: the change of any of it makes another digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.config import Settings
from dicomnode.domain import ModelIdentity, SegmentKind
from dicomnode.inference import examiner
from dicomnode.inference.examiner import Examiner, ExaminerInUse, examiner_digest
from dicomnode.inference.models import MANIFEST_NAME

FACE = ModelIdentity(SegmentKind.FACE, "face", "1", "aa" * 32)


def digest(network: ModelIdentity = FACE, **sections: object) -> str:
    return examiner_digest([[network]], Settings.model_validate(sections))


CHANGES = {
    "weights": digest(ModelIdentity(SegmentKind.FACE, "face", "1", "bb" * 32)),
    "kind of network": digest(ModelIdentity(SegmentKind.FOREGROUND, "face", "1", "aa" * 32)),
    "threshold": digest(verdict={"face_visible_ml": 36.0}),
    "way to run": digest(inference={"tile_step": 0.7}),
    "series": digest(series={"volumes": "first"}),
    "detector": digest(evidence={"face_detector": "dlib"}),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES.keys())
def test_what_changes_the_way_to_a_verdict_changes_the_digest(changed: str) -> None:
    assert changed != digest()


def test_the_same_way_has_the_same_digest() -> None:
    assert digest() == digest(node={"log_level": "DEBUG"})


@pytest.mark.parametrize(("name", "value"), [("__version__", "99.0"), ("RULE_VERSION", 99)])
def test_an_upgrade_of_the_node_or_its_rules_changes_the_digest(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest()
    monkeypatch.setattr(examiner, name, value)
    assert digest() != before


def test_networks_that_are_installed_later_count_from_the_next_question_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = tmp_path / MANIFEST_NAME
    settings = Settings.model_validate({"inference": {"models_folder": tmp_path}})
    reads: list[str] = []

    def installed(_settings: Settings) -> Examiner:
        reads.append(manifest.read_text())
        tile_step = 0.5 + 0.1 * len(reads)
        return Examiner((), Settings.model_validate({"inference": {"tile_step": tile_step}}))

    monkeypatch.setattr(examiner, "installed_examiner", installed)
    manifest.write_text("a")
    in_use = ExaminerInUse(settings)
    first = in_use.wanted_digest([])
    assert (in_use.wanted_digest([]), reads) == (first, ["a"])
    manifest.write_text("other")
    assert in_use.wanted_digest([]) != first
    assert reads == ["a", "other"]
