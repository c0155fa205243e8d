"""A training set from folders of the user's own: what is used, what isn't, and what it costs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dicomnode.commands.train import app
from dicomnode.errors import DicomnodeError
from dicomnode.training.drawn import draw_head
from dicomnode.training.prepare import prepare, subjects_folder
from dicomnode.training.read import write_nifti
from dicomnode.training.synthesis.subject import load_subject
from dicomnode.training.template import TEMPLATE_MASKS, template_folder
from tests.factories import make_series

NO_DRAWN: dict[str, Any] = {"seed": 1, "drawn_heads": 0, "drawn_bodies": 0, "cases_per_person": 0}
SPACING_MM = 5.0


def _write_head(path: Path, seed: int) -> Path:
    head = draw_head(seed, "MR", spacing_mm=SPACING_MM)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, head.array, head.affine)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template, and heads of two persons under the same name."""
    root = tmp_path_factory.mktemp("files")
    _write_head(root / "template" / "avg152T1.nii.gz", 1)
    for number, person in enumerate(("anna", "bert")):
        _write_head(root / "own" / person / "T1.nii.gz", 5 + number)
    return root


def _prepare(sources: list[Path], out: Path, template: Path | None) -> dict[str, Any]:
    prepare(sources, out, template=template, progress=lambda *_: None, **NO_DRAWN)
    recipe: dict[str, Any] = json.loads((out / "recipe.json").read_text())
    return recipe


def test_the_command_makes_a_set_and_says_what_it_did_not_use(files: Path, tmp_path: Path) -> None:
    own = shutil.copytree(files / "own", tmp_path / "own")
    head = draw_head(7, "CT", spacing_mm=SPACING_MM)
    axial = {"slices": head.array.shape[0], "slice_spacing_mm": SPACING_MM}
    make_series(
        own / "carl",
        modality="CT",
        volume=head.array,
        rows=head.array.shape[1],
        columns=head.array.shape[2],
        pixel_spacing_mm=(SPACING_MM, SPACING_MM),
        **axial,
    )
    (own / "notes.txt").write_text("none")
    (own / "more.txt").write_text("none")
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    write_nifti(own / "noise.nii.gz", noise, np.diag([5.0, 5.0, 5.0, 1.0]))
    mask = head.foreground.astype(np.float32)
    write_nifti(own / "anna" / "mask.nii.gz", mask, head.affine)
    out = tmp_path / "set"
    call = ["prepare", own, "--out", out, "--template", files / "template"]
    none = ["--drawn-heads", 0, "--drawn-bodies", 0, "--cases", 0]
    told = CliRunner().invoke(app, [str(part) for part in call + none])
    assert told.exit_code == 0, told.output
    recipe = json.loads((out / "recipe.json").read_text())
    assert [(s["name"], s["person"], s["kind"]) for s in recipe["subjects"]] == [
        ("anna_T1", "anna", "head"),
        ("bert_T1", "bert", "head"),
        ("carl_0", "carl", "head"),
        ("avg152T1", "avg152T1", "head"),
    ]
    assert [one["file"] for one in recipe["skipped"]] == [
        "anna/mask.nii.gz",
        "noise.nii.gz",
        "more.txt",
        "notes.txt",
    ]
    assert "not used: more.txt and 1 more: no image that can be read" in told.output
    assert "not used: noise.nii.gz: no head is found" in told.output
    saved = [load_subject(path) for path in sorted(subjects_folder(out).glob("*.npz"))]
    assert [(s.name, s.modality) for s in saved] == [
        ("anna_T1", "MR"),
        ("avg152T1", "MR"),
        ("bert_T1", "MR"),
        ("carl_0", "CT"),
    ]
    assert all(s.has_head for s in saved)


def test_scans_of_one_name_are_two_subjects_and_two_persons(files: Path, tmp_path: Path) -> None:
    sources = [files / "own" / "anna", files / "own" / "bert"]
    recipe = _prepare(sources, tmp_path, files / "template")
    found = [(s["name"], s["person"]) for s in recipe["subjects"]]
    assert found == [("T1", "T1"), ("T1_2", "T1_2"), ("avg152T1", "avg152T1")]
    assert recipe["left_out"][0][0] == "T1"
    assert recipe["left_out"][1][0] == "T1_2"


def test_a_set_holds_nothing_of_an_earlier_one(files: Path, tmp_path: Path) -> None:
    for person in ("anna", "bert"):
        _prepare([files / "own" / person / "T1.nii.gz", files / "template"], tmp_path, None)
        assert len(list(subjects_folder(tmp_path).glob("*.npz"))) == 2


def test_without_a_usable_scan_there_is_no_set(files: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.nii.gz").write_bytes(b"none")
    with pytest.raises(DicomnodeError, match=r"no scan to train on: a\.nii\.gz: "):
        _prepare([tmp_path / "own"], tmp_path / "set", files / "template")
    assert not (tmp_path / "set").exists()


def test_a_template_that_is_none_is_told(files: Path, tmp_path: Path) -> None:
    (tmp_path / "avg152T1.nii.gz").write_text("<html>")
    with pytest.raises(DicomnodeError, match="avg152T1"):
        _prepare([files / "own"], tmp_path / "set", tmp_path)


def test_a_missing_template_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DicomnodeError, match=r"avg152T1\.nii\.gz \(from github.*--template"):
        template_folder([tmp_path], None, masks=False)


def test_the_masks_of_tools_are_needed_for_cases_only(tmp_path: Path) -> None:
    folder = tmp_path / "templates_masks"
    folder.mkdir()
    (folder / "avg152T1.nii.gz").touch()
    assert template_folder([tmp_path], None, masks=False) == folder
    with pytest.raises(DicomnodeError, match=r"pydeface_facemask.*--cases 0"):
        template_folder([tmp_path], None, masks=True)
    for name in TEMPLATE_MASKS.values():
        (folder / name).touch()
    assert template_folder([], tmp_path, masks=True) == folder
