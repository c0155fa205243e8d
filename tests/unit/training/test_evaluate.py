"""Evaluation: what is scored, how it is summed up, and that an interrupted run goes on."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dicomnode.config import Settings
from dicomnode.domain import ModelIdentity, SegmentKind, VerdictKind
from dicomnode.errors import DicomnodeError
from dicomnode.inference.models import STARTER_FOLDER
from dicomnode.training.boxplot import write_boxplot
from dicomnode.training.case_folders import not_cases, person_of, read_cases
from dicomnode.training.cases import Case
from dicomnode.training.drawn import centred_affine, draw_head
from dicomnode.training.evaluate import Evaluation, Jury, evaluate, judge_cases, write_results
from dicomnode.training.evaluation_text import evaluation_text
from dicomnode.training.read import write_nifti
from dicomnode.training.scores import LOG_NAME, RegionScore, Score, read_log
from dicomnode.training.summary import summary
from dicomnode.training.verdict_figures import confusion, is_wrong, verdict_figures

CPU = Settings.model_validate({"inference": {"device": "cpu"}})
SHAPE = (12, 16, 16)
AFFINE = centred_affine(SHAPE, 10.0, np.zeros(3))


class Threshold:
    """A segmenter that calls what is above a value its region; counts how often it is asked."""

    falls: tuple[str, ...] = ()

    def __init__(self, kind: SegmentKind, above: float) -> None:
        self.identity = ModelIdentity(kind, f"threshold_{kind.value}", "1", "0" * 64)
        self.modalities = ("CT", "MR")
        self.above = above
        self.asked = 0

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> npt.NDArray[np.uint8]:
        self.asked += 1
        return (array > self.above).astype(np.uint8)


def _networks() -> list[Threshold]:
    return [
        Threshold(SegmentKind.FOREGROUND, 50),
        Threshold(SegmentKind.ANONYMISED_AREA, 150),
        Threshold(SegmentKind.FACE, 250),
    ]


def _head() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """A block of head; of it a block was anonymised, and a block of air in front of the head.

    `Threshold` finds the head, and as anonymised both blocks and a layer more in each.
    """
    array, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)
    array[2:10, 6:14, 2:14] = 100
    labels[2:10, 6:14, 2:14] = 1
    labels[2:10, 6:8, 2:14] = 3
    labels[2:10, 4:6, 2:14] = 4
    array[2:10, 3:9, 2:14] = 200
    return array, labels


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    folder = tmp_path / "cases"
    array, labels = _head()
    for name in ("defaced/box/sub-01_T1w", "defaced/box/sub-02_T1w", "intact/anna__1"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path.with_name(path.name + ".nii.gz"), array, AFFINE)
        if "sub-02" not in name:
            write_nifti(path.with_name(path.name + "_labels.nii.gz"), labels, AFFINE)
    return folder


def _judge(cases: Path, out: Path, networks: list[Threshold], **settings: Any) -> Evaluation:
    out.mkdir(exist_ok=True)
    jury = Jury(networks, Settings(**settings))
    return judge_cases(read_cases(cases), cases, jury, out, lambda *_: None)


def test_a_folder_of_the_users_own_says_what_its_cases_are(cases: Path) -> None:
    found = [(c.name, c.person, c.state, c.method, c.reference) for c in read_cases(cases)]
    assert found == [
        ("intact/anna__1", "anna", "intact", "none", True),
        ("defaced/box/sub-01_T1w", "sub-01", "defaced", "box", True),
        ("defaced/box/sub-02_T1w", "sub-02", "defaced", "box", False),
    ]
    assert person_of("scan_3") == "scan_3"


def test_a_folder_without_cases_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(DicomnodeError, match=r"cases\.json"):
        read_cases(tmp_path)
    (tmp_path / "cases.json").write_text('[{"name": "a"}]')
    with pytest.raises(DicomnodeError, match="not a list of cases"):
        read_cases(tmp_path)


def test_images_that_are_no_cases_are_told(cases: Path, tmp_path: Path) -> None:
    array, _ = _head()
    write_nifti(cases / "intact" / "berta__1.nii", array, AFFINE)
    (cases / "Defaced").mkdir()
    write_nifti(cases / "Defaced" / "carl.nii.gz", array, AFFINE)
    assert "intact/berta__1" in [case.name for case in read_cases(cases)]
    assert not_cases(cases) == ["Defaced/carl.nii.gz"]
    done = replace(_judge(cases, tmp_path / "out", _networks()), ignored=tuple(not_cases(cases)))
    assert not done.failed
    assert any(line.endswith("Defaced/carl.nii.gz") for line in evaluation_text(done))


def test_a_person_without_a_case_is_told(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(DicomnodeError, match="no case of dora"):
        evaluate(
            STARTER_FOLDER,
            cases,
            tmp_path / "out",
            settings=CPU,
            persons=["sub-01", "dora"],
            progress=lambda *_: None,
        )


def test_a_network_for_another_modality_does_not_look(cases: Path, tmp_path: Path) -> None:
    networks = _networks()
    networks[2].modalities = ("CT",)
    done = _judge(cases, tmp_path / "out", networks)
    assert networks[2].asked == 0
    assert {score.verdict for score in done.scores} == {VerdictKind.UNDETERMINED}
    assert "face" not in done.scores[0].regions


def test_thresholds_of_the_configuration_decide_without_a_network(
    cases: Path, tmp_path: Path
) -> None:
    networks = _networks()
    first = _judge(cases, tmp_path / "out", networks)
    strict = {"minimum_foreground_ml": 1e6}
    again = _judge(cases, tmp_path / "out", networks, verdict=strict)
    assert again.reused == len(first.scores)
    assert {score.verdict for score in again.scores} == {VerdictKind.UNDETERMINED}
    assert {score.verdict for score in first.scores} != {VerdictKind.UNDETERMINED}


def test_air_that_a_tool_overwrote_counts_neither_way_and_other_air_in_the_whole_volume_only(
    cases: Path, tmp_path: Path
) -> None:
    done = _judge(cases, tmp_path / "out", _networks())
    (score,) = [s for s in done.scores if s.case == "defaced/box/sub-01_T1w"]
    layer_ml = 8 * 12 * 1.0  # one layer of 10 mm voxels
    whole, head = score.regions["anonymised_area"], score.regions["anonymised_area_head"]
    assert whole.reference_ml == pytest.approx(2 * layer_ml)
    assert whole.answer_ml == pytest.approx(4 * layer_ml)  # of six, two are nobody's business
    assert whole.dice == pytest.approx(2 * 2 / (2 + 4))
    assert head.reference_ml == pytest.approx(2 * layer_ml)
    assert head.answer_ml == pytest.approx(3 * layer_ml)  # the layer behind, none of the air
    assert head.dice == pytest.approx(2 * 2 / (2 + 3))


def test_a_case_without_reference_has_volumes_and_a_verdict_only(
    cases: Path, tmp_path: Path
) -> None:
    done = _judge(cases, tmp_path / "out", _networks())
    (score,) = [s for s in done.scores if s.case == "defaced/box/sub-02_T1w"]
    assert score.regions == {}
    assert score.anonymised_ml == pytest.approx(6 * 96)
    assert score.verdict in set(VerdictKind)


def test_an_interrupted_run_goes_on_where_it_was(cases: Path, tmp_path: Path) -> None:
    out, networks = tmp_path / "out", _networks()
    first = _judge(cases, out, networks)
    assert networks[0].asked == 3
    log = out / LOG_NAME
    log.write_text(log.read_text()[:-40])  # killed while it wrote the third
    again = _judge(cases, out, networks)
    assert (networks[0].asked, again.reused) == (4, 2)
    assert [replace(s, seconds=0) for s in again.scores] == [
        replace(s, seconds=0) for s in first.scores
    ]
    assert _judge(cases, out, networks).reused == 3
    assert len(read_log(log)) == 3


def test_other_networks_or_other_files_are_judged_again(cases: Path, tmp_path: Path) -> None:
    out, networks = tmp_path / "out", _networks()
    _judge(cases, out, networks)
    assert _judge(cases, out, networks, inference={"tile_step": 0.7}).reused == 0
    array, _ = _head()
    write_nifti(cases / "intact" / "anna__1.nii.gz", array + 1, AFFINE)
    assert _judge(cases, out, networks).reused == 2


def test_a_broken_case_is_told_and_stops_nothing(cases: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (cases / "defaced/box/sub-01_T1w.nii.gz").write_bytes(b"no image")
    _, labels = _head()
    write_nifti(cases / "intact/anna__1_labels.nii.gz", labels[:-1], AFFINE)
    networks = _networks()
    done = _judge(cases, out, networks)
    assert [s.case for s in done.scores] == ["defaced/box/sub-02_T1w"]
    assert "not on the grid" in done.failed["intact/anna__1"]
    write_results(out, done, Jury(networks, Settings()))
    assert set(json.loads((out / "summary.json").read_text())["failed"]) == set(done.failed)
    assert any("not judged" in line for line in evaluation_text(done))


def test_results_are_a_table_a_summary_and_a_picture(cases: Path, tmp_path: Path) -> None:
    out, networks = tmp_path / "out", _networks()
    done = _judge(cases, out, networks)
    write_results(out, done, Jury(networks, Settings()))
    with (out / "scores.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert rows["defaced/box/sub-02_T1w"]["foreground_dice"] == ""
    assert float(rows["defaced/box/sub-01_T1w"]["anonymised_area_dice"]) == pytest.approx(
        2 / 3, abs=1e-4
    )
    found = json.loads((out / "summary.json").read_text())
    assert (found["cases"], found["persons"]) == (3, 3)
    assert found["regions"]["anonymised_area"]["dice"]["cases"] == 2
    assert found["networks"][0]["kind"] == "foreground"
    assert found["false_anonymised"]["intact"]["at_most_1_ml"]["count"] == 0
    assert (out / "dice.png").read_bytes().startswith(b"\x89PNG")


def test_an_evaluation_without_references_has_a_picture_too(tmp_path: Path) -> None:
    write_boxplot([_scored("a", "intact", VerdictKind.FACE_VISIBLE)], tmp_path / "dice.png")
    assert (tmp_path / "dice.png").is_file()


def _scored(case: str, state: str, verdict: VerdictKind, **more: Any) -> Score:
    values = {
        "case": case,
        "person": case,
        "modality": "CT",
        "state": state,
        "method": "none",
        "verdict": verdict.value,
        "foreground_ml": 3000.0,
        "face_ml": 0.0,
        "exposed_face_ml": 0.0,
        "anonymised_ml": 0.0,
        "anonymised_piece_ml": 0.0,
        "seconds": 1.0,
        "examiner": "",
        "inputs": "",
    }
    return Score(**(values | more))


@pytest.fixture
def judged() -> list[Score]:
    kinds = VerdictKind
    return [
        _scored("d1", "defaced", kinds.DEFACED),
        _scored("d2", "defaced", kinds.DEFACED),
        _scored("d3", "defaced", kinds.UNDETERMINED),
        _scored("d4", "defaced", kinds.FACE_VISIBLE),
        _scored("i1", "intact", kinds.FACE_VISIBLE, anonymised_ml=0.5),
        _scored("i2", "intact", kinds.DEFACED, anonymised_ml=120.0),
        _scored("p1", "partial", kinds.DEFACED, method="half_face"),
        _scored("b1", "body", kinds.NO_FACE_IN_VIEW),
    ]


def test_sensitivity_and_specificity_are_as_defined(judged: list[Score]) -> None:
    found = {
        name: (figure.count, figure.cases)
        for name, figure in verdict_figures(judged).items()
        if figure is not None
    }
    assert found == {
        "defaced_sensitivity": (2, 4),
        "defaced_specificity": (1, 3),
        "face_visible_sensitivity": (1, 2),
        "face_visible_specificity": (4, 5),
        "no_face_in_view_sensitivity": (1, 1),
        "undetermined": (1, 8),
        "error_defaced_called_face_visible": (1, 4),
        "error_intact_called_defaced": (1, 2),
        "error_partial_called_defaced": (1, 1),
    }
    assert {s.case for s in judged if is_wrong(s)} == {"d4", "i2", "p1"}


def test_the_confusion_table_has_a_row_for_each_true_state(judged: list[Score]) -> None:
    table = confusion(judged)
    assert table["defaced"] == {
        "DEFACED": 2,
        "NO_FACE_IN_VIEW": 0,
        "UNDETERMINED": 1,
        "FACE_VISIBLE": 1,
    }
    assert table["partial"]["DEFACED"] == 1
    assert sum(sum(row.values()) for row in table.values()) == len(judged)


def test_false_millilitres_are_those_of_heads_that_nobody_touched(judged: list[Score]) -> None:
    found = summary(judged)["false_anonymised"]
    assert found["intact"]["volume_ml"]["max"] == 120.0
    assert found["intact"]["at_most_1_ml"]["count"] == 1
    assert found["body"]["at_most_1_ml"]["share"] == 1.0


def test_the_worst_cases_are_named(judged: list[Score]) -> None:
    poor = RegionScore(0.2, 40.0, 0.1, 100.0, 30.0)
    empty = RegionScore(0.0, 400.0, 0.0, 0.0, 30.0)
    scores = [
        replace(judged[0], regions={"face": empty, "foreground": replace(poor, dice=0.9)}),
        replace(judged[1], regions={"face": poor, "foreground": poor}),
        *judged[2:],
    ]
    found = summary(scores)["worst"]
    assert [entry["case"] for entry in found["lowest_dice"]["foreground"]] == ["d2", "d1"]
    assert found["lowest_dice"]["face"] == [{"case": "d2", "dice": 0.2}]  # d1 has no face to miss
    assert found["false_anonymised"] == [{"case": "i2", "ml": 120.0}]
    assert [entry["case"] for entry in found["wrong_verdicts"]] == ["d4", "i2", "p1"]


@pytest.mark.timeout(900)  # loads real networks, which a busy machine does slowly
def test_the_starter_networks_are_judged_on_a_drawn_head(tmp_path: Path) -> None:
    head = draw_head(77, "MR", spacing_mm=4.0)
    cases = tmp_path / "cases"
    cases.mkdir()
    write_nifti(cases / "a.nii.gz", head.array, head.affine)
    labels = head.foreground.astype(np.uint8) + head.face.astype(np.uint8)
    write_nifti(cases / "a_labels.nii.gz", labels, head.affine)
    entry = Case("a", "a", "MR", "intact", "none", True)
    (cases / "cases.json").write_text(json.dumps([entry.__dict__]))
    models = tmp_path / "models"
    shutil.copytree(STARTER_FOLDER, models)
    for reused in (0, 1):
        done = evaluate(models, cases, tmp_path / "out", settings=CPU, progress=lambda *_: None)
        assert done.reused == reused
    (score,) = done.scores
    assert score.regions["foreground"].dice > 0.9
    assert score.verdict == VerdictKind.FACE_VISIBLE
