from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError
from dicomnode.inference.models import STARTER_FOLDER, load_manifest, pin, verify

CARD = {
    "kind": "foreground",
    "name": "test-foreground",
    "version": "1",
    "modalities": ["CT", "MR"],
    "licence": "MIT",
    "source": "made by a test",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dataset = tmp_path / "Dataset001_test"
    fold = dataset / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_all"
    fold.mkdir(parents=True)
    (dataset / "card.json").write_text(json.dumps(CARD))
    (fold.parent / "dataset.json").write_text("{}")
    (fold.parent / "plans.json").write_text("{}")
    (fold / "checkpoint_final.pth").write_bytes(b"weights")
    return tmp_path


def test_a_pinned_folder_verifies(folder: Path) -> None:
    (model,) = pin(folder)
    assert model.identity.kind is SegmentKind.FOREGROUND
    verify(model)
    assert load_manifest(folder) == (model,)


@pytest.mark.parametrize("name", ["checkpoint_final.pth", "plans.json", "dataset.json"])
def test_a_changed_file_is_found(folder: Path, name: str) -> None:
    (model,) = pin(folder)
    (path,) = folder.rglob(name)
    path.write_bytes(b"changed")
    with pytest.raises(ModelError, match="SHA-256"):
        verify(model)


def test_a_missing_checkpoint_is_named(folder: Path) -> None:
    (model,) = pin(folder)
    (path,) = folder.rglob("checkpoint_final.pth")
    path.unlink()
    with pytest.raises(ModelError, match=r"checkpoint_final\.pth is missing"):
        verify(model)


def test_a_manifest_that_climbs_out_is_refused(folder: Path) -> None:
    pin(folder)
    manifest = folder / "manifest.json"
    entries = json.loads(manifest.read_text())
    entries["models"][0]["folder"] = "../elsewhere"
    manifest.write_text(json.dumps(entries))
    with pytest.raises(ModelError, match="climbs out"):
        load_manifest(folder)


def test_a_folder_without_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="dicomnode models pin"):
        load_manifest(tmp_path)


def test_a_models_folder_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="can't be read: Not a directory"):
        load_manifest(tmp_path / "file")


@pytest.mark.parametrize("text", ['{"models": []}', '{"models": [3]}', "[]", "{", "\ud800"])
def test_a_manifest_that_pins_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match=r"manifest\.json: (no networks|not a model manifest)"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", "{"])
def test_a_card_that_is_none_is_named(folder: Path, text: str) -> None:
    (folder / "Dataset001_test" / "card.json").write_text(text)
    with pytest.raises(ModelError, match=r"card\.json: not a model card"):
        pin(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modalities", "CT"),
        ("modalities", ["XX"]),
        ("modalities", []),
        ("labels", 5),
        ("version", 2),
    ],
)
def test_a_card_of_another_shape_is_not_pinned_and_the_manifest_stays(
    folder: Path, key: str, value: object
) -> None:
    pin(folder)
    before = (folder / "manifest.json").read_bytes()
    (folder / "Dataset001_test" / "card.json").write_text(json.dumps(CARD | {key: value}))
    with pytest.raises(ModelError, match=rf"card\.json: {key} has to be"):
        pin(folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_networks_that_can_not_stand_together_leave_the_manifest_as_it_was(folder: Path) -> None:
    pin(folder)
    before = (folder / "manifest.json").read_bytes()
    shutil.copytree(folder / "Dataset001_test", folder / "Dataset002_test")
    with pytest.raises(ModelError, match="two networks of a kind are called test-foreground"):
        pin(folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_numbered_folds_and_fold_all_are_not_pinned_as_one_ensemble(folder: Path) -> None:
    (fold,) = folder.glob("*/*/fold_all")
    shutil.copytree(fold, fold.with_name("fold_0"))
    with pytest.raises(ModelError, match=r"holds fold_all and numbered folds.*pin it again"):
        pin(folder)
    assert not (folder / "manifest.json").exists()
    shutil.copytree(fold, fold.with_name("fold_1"))
    shutil.rmtree(fold)
    assert pin(folder)[0].folds == ("0", "1")


def test_the_starter_networks_are_as_pinned_and_small() -> None:
    models = load_manifest(STARTER_FOLDER)
    assert {model.identity.kind for model in models} == set(SegmentKind)
    for model in models:
        verify(model)
    size_bytes = sum(path.stat().st_size for model in models for path in model.files)
    assert size_bytes <= 20_000_000
