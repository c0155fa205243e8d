"""What the examining process loads: networks, the limit of memory, the pulse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from dicomnode.app import stages
from dicomnode.app.batch import find
from dicomnode.app.examining_process import Pulse, silence_seconds
from dicomnode.config import JobSettings, Settings
from dicomnode.domain import Revision, SegmentKind
from dicomnode.errors import ExaminationFailedError, RenderingError
from dicomnode.inference import assessment
from dicomnode.inference.memory import NetworkSize
from tests.factories import make_series
from tests.unit.inference.test_examine_choice import Network

MakeSettings = Callable[..., Settings]


@dataclass
class Sized(Network):
    size: NetworkSize = field(default=NetworkSize((2.5, 2.5, 2.5), (16, 16, 16), 2, 16))


@pytest.fixture
def pulse() -> Pulse:
    _, theirs = Pipe()
    limits = JobSettings(silence_seconds=10, silence_seconds_per_megavoxel=1000)
    return Pulse(theirs, limits)


@pytest.fixture
def revision(tmp_path: Path) -> Revision:
    make_series(tmp_path / "in", slices=8)
    (found,) = find([tmp_path / "in"]).revisions
    return found


@pytest.fixture(autouse=True)
def one_small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpictured(*_: object) -> None:
        raise RenderingError("nobody looks")

    def load(models: object, inference: object, beat: Callable[[], None]) -> list[Sized]:
        beat()
        return [Sized(SegmentKind.FOREGROUND, "a-foreground")]

    monkeypatch.setattr(assessment, "render", unpictured)
    monkeypatch.setattr(stages, "load_networks", load)


def messages(pulse: Pulse) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    pulse.connection = _Kept(sent)  # type: ignore[assignment]
    return sent


@dataclass
class _Kept:
    sent: list[dict[str, Any]]

    def send_bytes(self, content: bytes) -> None:
        self.sent.append(json.loads(content))


def test_each_step_tells_how_long_the_next_may_take_for_a_volume_of_that_size(
    make_settings: MakeSettings, pulse: Pulse, revision: Revision
) -> None:
    sent = messages(pulse)
    examination = stages.load_tasks(make_settings(), pulse).examine(revision)
    assert len(examination.volumes) == 1
    limits = {message["step"]: message["limit_seconds"] for message in sent}
    assert limits["reading the series"] == 10
    assert limits["writing SEG"] == pytest.approx(10 + 1000 * 8 * 32 * 32 / 1e6)


def test_a_volume_beyond_the_limit_of_memory_is_set_aside(
    make_settings: MakeSettings, pulse: Pulse, revision: Revision
) -> None:
    messages(pulse)
    settings = make_settings(inference={"memory_bytes": 100_000})
    with pytest.raises(ExaminationFailedError, match=r"set aside: .* \(inference.memory_bytes"):
        stages.load_tasks(settings, pulse).examine(revision)


def test_beats_between_steps_are_rare(pulse: Pulse) -> None:
    sent = messages(pulse)
    pulse.step("network face")
    for _ in range(1000):
        pulse.beat()
    assert 1 <= len(sent) < 100
    assert {message["step"] for message in sent} == {"network face"}


def test_silence_grows_with_the_volume() -> None:
    limits = JobSettings(silence_seconds=300, silence_seconds_per_megavoxel=20)
    assert silence_seconds(limits, 0) == 300
    assert silence_seconds(limits, 50_000_000) == 1300
