"""Images over processes: a process that dies costs one image."""

from __future__ import annotations

import multiprocessing
import queue
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dicomnode.cli import app
from dicomnode.config import InferenceSettings
from dicomnode.errors import ConfigurationError, ModelError
from dicomnode.masks.find import Found, Item, find
from dicomnode.masks.make import Job, Outcome
from dicomnode.masks.workers import DEATHS, Device, _feed, run, spread
from dicomnode.training.drawn import draw_head
from dicomnode.training.read import write_nifti
from tests.unit.masks.sets import load, load_in_vain, save


class Dying:
    """A worker whose process dies of some images."""

    def __init__(self, deadly: set[str], comes_back: bool = True) -> None:
        self.deadly, self.comes_back, self.device = deadly, comes_back, "cpu"
        self.finished = False

    def do(self, item: Item) -> Outcome | None:
        return None if item.key in self.deadly else Outcome(item.key, "made")

    def restart(self) -> None:
        if not self.comes_back:
            raise ModelError("the device is gone")

    def finish(self) -> None:
        self.finished = True


def _fed(worker: Dying, names: str, tmp_path: Path) -> tuple[dict[str, str], int]:
    """Statuses by key, and how many images were left over."""
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
    for name in names:
        save(tmp_path / f"{name}.nii")
    for item in find(tmp_path).items:
        waiting.put(item)
    _feed(worker, waiting, done)  # type: ignore[arg-type]
    statuses = {}
    while (outcome := done.get()) is not None:
        statuses[outcome.key[0]] = outcome.status
    return statuses, waiting.qsize()


def test_a_deadly_image_costs_itself_only(tmp_path: Path) -> None:
    worker = Dying({"b_nii"})
    assert _fed(worker, "abc", tmp_path) == ({"a": "made", "b": "failed", "c": "made"}, 0)
    assert worker.finished


def test_a_device_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    statuses, left = _fed(Dying({f"{name}_nii" for name in "abcde"}), "abcde", tmp_path)
    assert set(statuses.values()) == {"failed"}
    assert (len(statuses), left) == (DEATHS, 5 - DEATHS)


def test_a_device_that_is_gone_leaves_the_rest_to_others(tmp_path: Path) -> None:
    statuses, left = _fed(Dying({"a_nii"}, comes_back=False), "abc", tmp_path)
    assert (statuses, left) == ({"a": "failed"}, 2)


def _threads(devices: list[Device]) -> list[tuple[str, int]]:
    return [(device.name, device.load.args[1].cpu_threads) for device in devices]  # type: ignore[attr-defined]


def test_processes_on_one_cpu_share_its_cores() -> None:
    settings = InferenceSettings(device="cpu")
    assert _threads(spread([], settings, [], 64)) == [("cpu", 1)] * 64
    gpus = spread([], InferenceSettings(cpu_threads=3), ["cuda:0", "cuda:1"], 1)
    assert _threads(gpus) == [("cuda:0", 3), ("cuda:1", 3)]


def test_two_processes_make_all_masks_and_end(tmp_path: Path) -> None:
    for name in "abcd":
        save(tmp_path / "set" / f"{name}.nii.gz")
    items = find(tmp_path / "set").items
    outcomes = list(run(items, [Device("one", load), Device("two", load)], _job(tmp_path)))
    assert sorted(outcome.key for outcome in outcomes) == ["a", "b", "c", "d"]
    assert {outcome.status for outcome in outcomes} == {"made"}
    assert not multiprocessing.active_children()


def test_a_killed_process_is_replaced(tmp_path: Path) -> None:
    for number in range(30):
        save(tmp_path / "set" / f"{number}.nii.gz")
    made = run(find(tmp_path / "set").items, [Device("one", load)], _job(tmp_path))
    outcomes = [next(made)]
    (process,) = multiprocessing.active_children()
    process.kill()
    outcomes += made
    assert len({outcome.key for outcome in outcomes}) == len(outcomes) == 30
    assert [outcome.status for outcome in outcomes].count("made") >= 29


def test_a_run_that_is_left_ends_its_processes(tmp_path: Path) -> None:
    for number in range(9):
        save(tmp_path / "set" / f"{number}.nii.gz")
    made = run(find(tmp_path / "set").items, [Device("one", load)], _job(tmp_path))
    next(made)
    made.close()
    assert not multiprocessing.active_children()


def test_networks_that_cant_be_loaded_end_the_run(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a.nii.gz")
    made = run(find(tmp_path / "set").items, [Device("one", load_in_vain)], _job(tmp_path))
    with pytest.raises(ModelError, match="no such device"):
        next(made)
    assert not multiprocessing.active_children()


def _job(tmp_path: Path) -> Job:
    return Job(tmp_path / "out", "networks")


def _head(path: Path) -> None:
    head = draw_head(5, "CT", spacing_mm=5.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, head.array.astype(np.int16), head.affine)


@pytest.mark.timeout(900)  # loads real networks, which a busy machine does slowly
def test_the_command_makes_masks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMNODE_INFERENCE__CPU_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder, out = tmp_path / "set", tmp_path / "Dataset123_try"
    _head(folder / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    (folder / "broken.nii.gz").write_bytes(b"nothing")
    arguments = ["masks", str(folder), "--for", "nnssl", "--out", str(out), "--devices", "cpu"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert "1 masks made, 0 masks of before kept, 1 skipped" in first.output
    again = CliRunner().invoke(app, arguments)
    assert "0 masks made, 1 masks of before kept, 1 skipped" in again.output
    assert (out / "pretrain_data.json").is_file()


def _refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Exception:
    """With what the command ends before it has looked for images."""

    def searched(*_: object) -> Found:
        raise AssertionError("the data set was searched")

    monkeypatch.setattr("dicomnode.masks.find.find", searched)
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize("below", ["", "deeper"])
def test_an_output_folder_that_is_a_file_is_told_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    save(tmp_path / "set" / "a.nii.gz")
    (tmp_path / "file").write_text("kept")
    arguments = ["masks", str(tmp_path / "set"), "--for", "nnssl", "--device", "cpu", "--out"]
    error = _refused([*arguments, str(tmp_path / "file" / below)], monkeypatch)
    assert isinstance(error, ConfigurationError)
    assert "name a folder" in str(error)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("of_the_configuration", [True, False])
def test_a_gpu_that_is_not_there_is_told_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_the_configuration: bool
) -> None:
    save(tmp_path / "set" / "a.nii.gz")
    out = tmp_path / "out"
    arguments = ["masks", str(tmp_path / "set"), "--for", "nnssl", "--out", str(out)]
    if of_the_configuration:
        monkeypatch.setenv("DICOMNODE_INFERENCE__DEVICE", "cuda:99")
    else:
        arguments += ["--devices", "cpu,cuda:99"]
    error = _refused(arguments, monkeypatch)
    assert isinstance(error, ModelError)
    assert "device cuda:99" in str(error)
    assert not out.exists()


@pytest.mark.parametrize("wrong", [["--device", "tpu"], ["--name", "mine"], ["--for", "monai"]])
def test_wrong_usage_makes_nothing(tmp_path: Path, wrong: list[str]) -> None:
    out = tmp_path / "out"
    (tmp_path / "set").mkdir()
    arguments = ["masks", str(tmp_path / "set"), "--for", "nnssl", "--out", str(out), *wrong]
    assert CliRunner().invoke(app, arguments).exit_code != 0
    assert not out.exists()
