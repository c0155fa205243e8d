"""Installing what nnunetv2's own trainer made, packed as people pack it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dicomnode.config import InferenceSettings
from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError
from dicomnode.inference.install import Installed, install
from dicomnode.inference.models import STARTER_FOLDER, load_manifest, pin, verify
from dicomnode.inference.nnunet import load_networks
from dicomnode.inference.plan import Wishes
from dicomnode.training.nnunet_paths import nnunet_folders
from tests.command_line import dicomnode
from tests.e2e.site import free_ports
from tests.file_server import Served, serving
from tests.integration.inference.conftest import ANONYMISED, FACE, FOREGROUND

CPU = InferenceSettings(device="cpu", cpu_threads=1)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "site" / "models"


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A dataset's folder that a test may change, inside a folder of its own."""

    def make(dataset: str) -> Path:
        return Path(shutil.copytree(results / dataset, tmp_path / "source" / dataset))

    return make


@pytest.fixture(scope="session")
def bvm(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks in one zip, below a wrapper folder."""
    path = tmp_path_factory.mktemp("bvm") / "BVM2025_Networks.zip"
    return _zip(path, results / FOREGROUND, results / ANONYMISED)


def _zip(path: Path, *datasets: Path, wrapper: str = "BVM2025_Networks/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for dataset in datasets:
            for file in sorted(dataset.rglob("*")):
                archive.write(file, wrapper + file.relative_to(dataset.parent).as_posix())
    return path


def _install(source: Path | str, models: Path, **wishes: Any) -> Installed:
    return install(str(source), models, Wishes(**wishes), lambda step, done, total: None)


def _tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def _configuration(dataset: Path) -> Path:
    (plans,) = dataset.glob("*/plans.json")
    return plans.parent


def _change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _change_checkpoint(dataset: Path, **values: Any) -> None:
    path = _configuration(dataset) / "fold_all" / "checkpoint_final.pth"
    torch.save(torch.load(path, weights_only=False) | values, path)


def _answers(models: Path) -> dict[SegmentKind, np.ndarray]:
    array = np.random.default_rng(3).normal(size=(18, 20, 19)).astype(np.float32)
    return {
        network.identity.kind: network.segment(array, (2.0, 1.5, 1.5))
        for network in load_networks(load_manifest(models), CPU)
    }


def test_a_released_archive_is_installed_and_a_starter_stands_in_for_the_rest(
    bvm: Path, models: Path
) -> None:
    done = _install(bvm, models)
    assert [m.identity.kind.value for m in done.models] == ["foreground", "anonymised_area"]
    assert [m.identity.kind.value for m in done.stand_ins] == ["face"]
    pinned = {model.identity.kind: model for model in load_manifest(models)}
    assert set(pinned) == set(SegmentKind)
    for model in pinned.values():
        verify(model)
    foreground = pinned[SegmentKind.FOREGROUND]
    assert foreground.folds == ("all",)
    assert "Zenodo record 14509685" in foreground.source
    assert foreground.card["metrics"][0]["value"] == "> 0.995"
    assert foreground.card["installed"]["sha256_of_archive"]
    assert any("not used: fold 0, 1, 2" in remark for remark in done.remarks)
    assert set(_answers(models)) == set(SegmentKind)
    assert [path.name for path in models.parent.iterdir()] == ["models"]


def test_pinning_again_gives_the_same_manifest(bvm: Path, models: Path) -> None:
    _install(bvm, models, dataset="804", labels=("replaced",))
    before = load_manifest(models)
    assert set(pin(models)) == set(before)
    assert {m.labels for m in before} == {(2,), ()}


def test_a_zip_of_nnunets_own_export_is_installed(
    training: Path, models: Path, tmp_path: Path
) -> None:
    from nnunetv2.model_sharing.model_export import export_pretrained_model

    path = tmp_path / "export.zip"
    with nnunet_folders(training):
        export_pretrained_model(FACE, str(path), ("3d_fullres",), folds=("all",))  # type: ignore[arg-type]
    done = _install(path, models)
    (model,) = done.models
    assert model.identity.kind is SegmentKind.FACE
    assert model.licence.startswith("none given")
    assert model.modalities == ("CT",)
    assert done.remarks[-1] == "face: no network was made for MR"


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_is_installed_from_without_and_within(
    results: Path, models: Path, inside: bool
) -> None:
    source = _configuration(results / FACE) if inside else results / FACE
    (model,) = _install(source, models).models
    assert model.identity.name == FACE
    assert (source / "dataset.json" if inside else source).exists()


def test_only_the_inside_of_a_folder_in_a_zip_is_enough(
    results: Path, models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "inside.zip"
    inside = _configuration(results / FACE)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(inside.rglob("*")):
            archive.write(file, file.relative_to(inside).as_posix())
    (model,) = _install(path, models).models
    assert model.identity.name == FACE
    assert set(pin(models)) == set(load_manifest(models))


def test_numbered_folds_are_used_together_or_as_chosen(
    copy: Callable[[str], Path], models: Path
) -> None:
    renamed = copy(FOREGROUND)
    renamed = renamed.rename(renamed.with_name("Dataset555_mine"))
    done = _install(renamed, models, kind=SegmentKind.FOREGROUND)
    assert done.models[0].folds == ("0", "1", "2")
    assert any("not used: fold all" in remark for remark in done.remarks)
    again = _install(renamed, models, kind=SegmentKind.FOREGROUND, folds=("2", "all"), replace=True)
    assert again.models[0].folds == ("2", "all")
    with pytest.raises(ModelError, match=r"no fold 4; there are: 0, 1, 2, all"):
        _install(renamed, models, kind=SegmentKind.FOREGROUND, folds=("4",), replace=True)


def test_final_comes_before_best_and_either_can_be_asked_for(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    assert _install(source, models).models[0].checkpoint == "checkpoint_final.pth"
    best = _install(source, models, checkpoint="best", replace=True).models[0]
    assert best.checkpoint == "checkpoint_best.pth"
    fold = _configuration(source) / "fold_all"
    (fold / "checkpoint_final.pth").unlink()
    assert _install(source, models, replace=True).models[0].checkpoint == "checkpoint_best.pth"
    with pytest.raises(ModelError, match=r"no checkpoint_final\.pth in fold all; there is: check"):
        _install(source, models, checkpoint="final", replace=True)
    (fold / "checkpoint_best.pth").rename(fold / "checkpoint_latest.pth")
    with pytest.raises(ModelError, match="its training isn't finished"):
        _install(source, models, replace=True)


def test_of_several_configurations_the_user_chooses(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    own = _configuration(source)
    shutil.copytree(own, own.with_name("nnUNetTrainer__nnUNetResEncUNetMPlans__3d_lowres"))
    with pytest.raises(ModelError, match=r"2 trained configurations.*--configuration.*3d_lowres"):
        _install(source, models)
    (model,) = _install(source, models, configuration="3d_fullres").models
    assert model.folder.name == own.name
    with pytest.raises(ModelError, match=r"no configuration 2d in it; there are: .*3d_fullres"):
        _install(source, models, configuration="2d", replace=True)


def test_a_second_network_of_a_kind_needs_to_be_asked_for(results: Path, models: Path) -> None:
    _install(results / FACE, models)
    before = _tree(models)
    with pytest.raises(ModelError, match=rf"already for face by {FACE}.*--replace"):
        _install(results / FACE, models, checkpoint="best")
    assert _tree(models) == before
    done = _install(results / FACE, models, checkpoint="best", replace=True)
    assert done.replaced == (FACE,)
    assert len(load_manifest(models)) == 3
    assert len(list(models.glob(f"{FACE}*"))) == 1


def test_a_starter_that_stands_in_gives_way_unasked(results: Path, bvm: Path, models: Path) -> None:
    _install(results / FACE, models)
    assert sum(model.stand_in for model in load_manifest(models)) == 2
    done = _install(bvm, models)
    assert len(done.replaced) == 2
    assert not any(model.stand_in for model in load_manifest(models))
    assert len(list(models.glob("Dataset*"))) == 3


@pytest.mark.parametrize("exists", [False, True])
def test_a_failing_installation_leaves_everything_as_it_was(
    results: Path, copy: Callable[[str], Path], models: Path, exists: bool
) -> None:
    if exists:
        _install(results / FOREGROUND, models)
    models.parent.mkdir(exist_ok=True)
    before = _tree(models.parent)
    source = copy(FACE)
    _change_checkpoint(source, network_weights={"a": torch.zeros(3)})
    with pytest.raises(ModelError, match="can't be built"):
        _install(_zip(source.parent / "face.zip", source), models)
    assert _tree(models.parent) == before


def test_weights_that_are_no_numbers_are_refused(copy: Callable[[str], Path], models: Path) -> None:
    source = copy(FACE)
    path = _configuration(source) / "fold_all" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    next(iter(checkpoint["network_weights"].values()))[0] = float("nan")
    torch.save(checkpoint, path)
    with pytest.raises(ModelError, match="no numbers"):
        _install(source, models)


def test_a_checkpoint_that_would_run_code_is_refused_and_says_why(
    copy: Callable[[str], Path], models: Path, tmp_path: Path
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "owned",)

    source = copy(FACE)
    _change_checkpoint(source, logging=Evil())
    with pytest.raises(ModelError, match=r"beside tensors and plain values it holds .*pathlib"):
        _install(source, models)
    assert not (tmp_path / "owned").exists()
    assert not models.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network_class_name", "os.system"),
        ("network_class_name", "dynamic_network_architectures.architectures.unet.torch.hub.load"),
        ("network_class_name", "exec"),
        ("conv_op", "torch.nn.modules.conv.torch.hub.load"),
        ("conv_op", "subprocess.Popen"),
    ],
)
def test_plans_that_build_with_other_code_are_refused(
    copy: Callable[[str], Path], models: Path, key: str, value: str
) -> None:
    source = copy(FACE)
    path = _configuration(source) / "plans.json"
    plans = json.loads(path.read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    (architecture if key in architecture else architecture["arch_kwargs"])[key] = value
    path.write_text(json.dumps(plans))
    with pytest.raises(ModelError, match=r"none of the classes of nnU-Net's own"):
        _install(source, models)


@pytest.mark.parametrize("dataset", [FACE, ANONYMISED])
def test_plans_of_older_versions_give_the_same_answers(
    results: Path, copy: Callable[[str], Path], models: Path, tmp_path: Path, dataset: str
) -> None:
    source = copy(dataset)
    path = _configuration(source) / "plans.json"
    plans = json.loads(path.read_text())
    configuration = plans["configurations"]["3d_fullres"]
    architecture = configuration.pop("architecture")
    kwargs = architecture["arch_kwargs"]
    configuration |= {
        "UNet_class_name": architecture["network_class_name"].rpartition(".")[2],
        "UNet_base_num_features": kwargs["features_per_stage"][0],
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": kwargs.get("n_conv_per_stage") or kwargs["n_blocks_per_stage"],
        "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [2, 2, 2],
        "pool_op_kernel_sizes": kwargs["strides"],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
    }
    path.write_text(json.dumps(plans))
    (model,) = _install(source, models).models
    _install(results / dataset, tmp_path / "new")
    kind = model.identity.kind
    np.testing.assert_array_equal(_answers(models)[kind], _answers(tmp_path / "new")[kind])


def test_a_trainer_that_nnunetv2_does_not_know_is_replaced_by_the_base_one_and_recorded(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    _change_checkpoint(source, trainer_name="nnUNetTrainerOfSomebody")
    (model,) = _install(source, models).models
    assert model.trainer == "nnUNetTrainer"
    assert any("no trainer nnUNetTrainerOfSomebody" in line for line in model.card["chosen"])
    assert SegmentKind.FACE in _answers(models)


def test_an_unknown_trainer_whose_network_is_another_one_is_an_error_that_names_it(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    _change_checkpoint(source, trainer_name="nnUNetTrainerOfSomebody", network_weights={})
    with pytest.raises(ModelError, match=r"knows no trainer nnUNetTrainerOfSomebody.*--trainer"):
        _install(source, models)


def test_a_network_that_needs_two_images_is_refused(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    path = _configuration(source) / "fold_all" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    weights = checkpoint["network_weights"]
    for name, tensor in weights.items():
        if tensor.ndim == 5 and tensor.shape[1] == 1:
            weights[name] = tensor.repeat(1, 2, 1, 1, 1)
    torch.save(checkpoint, path)
    _change_json(_configuration(source) / "dataset.json", channel_names={"0": "T1", "1": "T2"})
    with pytest.raises(ModelError, match=r"needs 2 images of one head at once \(T1, T2\)"):
        _install(source, models)


def test_an_unknown_network_is_asked_for_its_kind_and_its_labels_are_checked(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(ANONYMISED)
    source = source.rename(source.with_name("Dataset777_mine"))
    with pytest.raises(ModelError, match=r"Dataset777_mine: nobody says what it segments.*--kind"):
        _install(source, models)
    with pytest.raises(ModelError, match=r"no label 3 .*1 \(removed\), 2 \(replaced\)"):
        _install(source, models, kind=SegmentKind.FACE, labels=("3",))
    (model,) = _install(source, models, kind=SegmentKind.FACE, labels=("removed",)).models
    assert model.labels == (1,)
    assert model.licence == "unknown"
    assert model.card["training_data"] == "unknown"


def test_several_networks_can_not_all_be_of_one_kind(bvm: Path, models: Path) -> None:
    with pytest.raises(ModelError, match=r"one by one with --dataset"):
        _install(bvm, models, kind=SegmentKind.FACE)
    (model,) = _install(bvm, models, kind=SegmentKind.FACE, dataset="Dataset803").models
    assert model.identity.kind is SegmentKind.FACE


def test_a_network_that_only_its_folders_name_makes_known_says_so(
    results: Path, models: Path
) -> None:
    done = _install(results / FACE, models)
    (model,) = done.models
    told = next(line for line in model.card["chosen"] if "recognised" in line)
    assert "by its folder's name only" in told
    assert "figures are those that its makers published" in told
    assert any(told in remark for remark in done.remarks)


def test_what_the_catalogue_knows_is_not_said_of_a_network_of_another_kind(
    bvm: Path, models: Path
) -> None:
    (model,) = _install(bvm, models, dataset="804", kind=SegmentKind.FOREGROUND).models
    assert model.card["metrics"] == model.card["training_data"] == model.licence == "unknown"
    assert "meaning" not in model.card
    assert "Zenodo" not in model.source
    assert "that one is for anonymised_area, this one for foreground" in model.card["chosen"][0]


def test_what_its_own_card_says_of_a_segment_is_not_said_of_one_of_another_kind(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    source = source.rename(source.with_name("Dataset777_mine"))
    card = {"kind": "face", "labels": [1], "metrics": [{"Dice": 0.9}], "licence": "MIT"}
    (source / "card.json").write_text(json.dumps(card))
    (model,) = _install(source, models, kind=SegmentKind.FOREGROUND).models
    assert (model.card["metrics"], model.labels, model.licence) == ("unknown", (), "MIT")
    assert model.identity.kind is SegmentKind.FOREGROUND


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("card.json", {"labels": 5}, "card.json: labels has to be a list"),
        ("card.json", {"labels": {"1": 1}}, "card.json: labels has to be a list"),
        ("card.json", {"kind": 3}, "card.json: kind has to be a text"),
        ("card.json", {"version": [1]}, "card.json: version has to be a text"),
        ("card.json", {"modalities": "CT"}, "card.json: modalities has to be"),
        ("card.json", {"modalities": ["XX"]}, "card.json: modalities has to be"),
        ("card.json", {"modalities": [["CT"]]}, "card.json: modalities has to be"),
        ("card.json", {"kind": "nose"}, 'card.json says "nose", which is no kind'),
        ("card.json", ["face"], "card.json: holds no JSON object"),
        ("*/dataset.json", {"channel_names": ["CT"]}, "dataset.json: channel_names has to be"),
        ("*/dataset.json", {"labels": ["face"]}, "dataset.json: labels has to be"),
    ],
)
def test_foreign_json_of_another_shape_is_named_with_its_key(
    copy: Callable[[str], Path], models: Path, name: str, content: Any, told: str
) -> None:
    source = copy(FACE)
    source = source.rename(source.with_name("Dataset777_mine"))
    (source / "card.json").write_text('{"kind": "face"}')
    (path,) = source.glob(name)
    if isinstance(content, dict):
        content = json.loads(path.read_text()) | content
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError) as raised:
        _install(_zip(source.parent / "mine.zip", source), models)
    assert "Dataset777_mine" in str(raised.value)
    assert told in str(raised.value)


def test_a_network_named_like_a_starter_stands_beside_that_starter(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    source = source.rename(source.with_name("Dataset902_starter_anonymised_area"))
    done = _install(source, models, kind=SegmentKind.FACE)
    assert {m.identity.kind.value for m in done.stand_ins} == {"foreground", "anonymised_area"}
    assert len({model.folder for model in load_manifest(models)}) == 3
    for model in load_manifest(models):
        verify(model)


def test_replace_and_beside_can_not_both_be_meant(results: Path, models: Path) -> None:
    with pytest.raises(ModelError, match="name one of them"):
        _install(results / FACE, models, replace=True, beside=True)


def test_beside_a_network_of_the_same_name_is_refused_in_words_that_help(
    results: Path, models: Path
) -> None:
    _install(results / FACE, models)
    before = _tree(models)
    with pytest.raises(ModelError) as raised:
        _install(results / FACE, models, beside=True)
    told = str(raised.value)
    assert told.startswith(f"{models}: there is a face network called {FACE} already")
    assert "--replace" in told
    assert "folder of another name" in told
    assert ".install" not in told
    assert _tree(models) == before


@pytest.mark.parametrize("members", [{}, {"readme.txt": "hello"}])
def test_an_archive_without_networks_is_called_as_the_user_calls_it(
    models: Path, tmp_path: Path, members: dict[str, str]
) -> None:
    path = tmp_path / "empty.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    with pytest.raises(ModelError, match=r"^empty\.zip: no trained nnU-Net v2 in it"):
        _install(path, models)


def test_what_is_wrong_inside_an_archive_is_named_by_its_place_there(
    results: Path, models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "inside.zip"
    inside = _configuration(results / FACE)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("dataset.json", "fold_all/checkpoint_final.pth"):
            archive.write(inside / name, name)
        archive.writestr("plans.json", "[]")
    with pytest.raises(ModelError, match=r"^inside\.zip: plans\.json: holds no JSON object"):
        _install(path, models)


def test_a_web_page_is_called_by_its_address(models: Path) -> None:
    with serving(Served(b"<!DOCTYPE html><html>"), "page.html") as served:
        with pytest.raises(ModelError) as raised:
            _install(served.url, models)
        assert str(raised.value).startswith(f"{served.url}: a web page, not an archive")


@pytest.mark.parametrize("address", ["http://[bad/x.zip", "https://me:secret@[bad/x.zip?secret"])
def test_what_only_looks_like_an_address_is_told(models: Path, address: str) -> None:
    with pytest.raises(ModelError, match="not an address") as raised:
        _install(address, models)
    assert "[bad/x.zip" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_packaged_starters_are_never_written_to(results: Path) -> None:
    before = _tree(STARTER_FOLDER)
    for folder in (STARTER_FOLDER, STARTER_FOLDER / "mine"):
        with pytest.raises(ModelError, match="--into"):
            _install(results / FACE, folder)
    assert _tree(STARTER_FOLDER) == before


def test_what_is_no_source_is_told(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Known: bvm2025, cta-deface"):
        _install("nothing-like-that", models)
    with pytest.raises(ModelError, match="No direct address is known"):
        _install("cta-deface", models)
    with pytest.raises(ModelError, match=r"no trained nnU-Net v2 in it"):
        _install(tmp_path, models)


def test_an_archive_with_another_digest_is_not_installed(bvm: Path, models: Path) -> None:
    with pytest.raises(ModelError, match="SHA-256 is"):
        _install(bvm, models, sha256="0" * 64)
    assert not models.exists()


def test_an_address_is_fetched_in_spite_of_breaks_and_nothing_is_left_behind(
    bvm: Path, models: Path
) -> None:
    content = bvm.read_bytes()
    with serving(Served(content, break_off_after=[len(content) // 2]), bvm.name) as served:
        done = _install(served.url + "?token=secret", models)
    assert len(done.models) == 2
    assert "secret" not in (models / "manifest.json").read_text()
    assert len(served.ranges) == 2
    assert [path.name for path in models.parent.iterdir()] == ["models"]


def test_a_download_outlives_a_question_that_the_user_has_to_answer(
    copy: Callable[[str], Path], models: Path
) -> None:
    source = copy(FACE)
    source = source.rename(source.with_name("Dataset777_mine"))
    content = _zip(source.parent / "mine.zip", source).read_bytes()
    with serving(Served(content)) as served:
        with pytest.raises(ModelError, match="--kind"):
            _install(served.url, models)
        _install(served.url, models, kind=SegmentKind.FACE)
    assert served.ranges == [None, f"bytes={len(content)}-"]


def test_the_commands_install_list_and_show(bvm: Path, models: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[inference]\nmodels_folder = "{models}"\n')
    done = dicomnode("models", "install", str(bvm), "-c", str(config))
    assert done.returncode == 0, done.stderr
    assert "Dataset903_starter_face: the starter network stands in for face" in done.stdout
    again = dicomnode("models", "install", str(bvm), "-c", str(config))
    assert again.returncode == 2
    assert "--replace" in again.stderr
    assert "Traceback" not in again.stderr
    listed = json.loads(dicomnode("models", "list", "--json", "-c", str(config)).stdout)
    assert {entry["identity"]["kind"] for entry in listed} == {kind.value for kind in SegmentKind}
    shown = dicomnode("models", "show", FOREGROUND, "-c", str(config)).stdout
    assert "arXiv 2501.04361" in shown
    assert listed[0]["identity"]["sha256"] in shown
    assert dicomnode("models", "verify", "-c", str(config)).returncode == 0
    nowhere = dicomnode("models", "install", str(bvm))
    assert "--into FOLDER" in nowhere.stderr


def test_after_beside_a_rule_is_asked_for_and_with_its_example_the_node_is_content(
    results: Path, copy: Callable[[str], Path], models: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[node]\ndata_folder = "{tmp_path / "data"}"\n[scp]\nport = {free_ports(1)[0]}\n'
        f'[inference]\ndevice = "cpu"\nmodels_folder = "{models}"\n'
    )
    options = ["-c", str(config)]
    assert (
        "restart its worker" in dicomnode("models", "install", str(results / FACE), *options).stderr
    )
    second = copy(ANONYMISED)
    second = second.rename(second.with_name("Dataset777_mine"))
    done = dicomnode("models", "install", str(second), "--kind", "face", "--beside", *options)
    assert done.returncode == 0, done.stderr
    assert f"2 face networks are installed ({FACE}, Dataset777_mine)" in done.stderr
    assert "restart its worker" not in done.stderr
    assert len(load_manifest(models)) == 4
    assert "2 face networks" in dicomnode("check", *options).stdout

    example = done.stderr[done.stderr.index("[[inference.use]]\nkind") :]
    config.write_text(config.read_text() + example)
    checked = dicomnode("check", *options)
    assert checked.returncode == 0, checked.stdout
    assert "Dataset777_mine" in checked.stdout

    other = [str(second), "--kind", "face", "--labels", "1", "--replace", *options]
    replaced = dicomnode("models", "install", *other)
    assert replaced.returncode == 0, replaced.stderr
    assert f"rule 1: there is no face network {FACE}; there are Dataset777_mine" in replaced.stderr
    assert '[[inference.use]]\nkind = "face"\nnetwork = "Dataset777_mine"\n' in replaced.stderr


def test_a_folder_named_from_here_is_shown_in_full(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = dicomnode("models", "install", str(results / FACE), "--into", "m1")
    assert f'models_folder = "{tmp_path / "m1"}"' in done.stderr


def test_every_network_that_is_not_as_pinned_is_named(
    results: Path, models: Path, tmp_path: Path
) -> None:
    _install(results / FACE, models)
    first, second, third = load_manifest(models)
    (first.folder / "plans.json").write_text("{}")
    (third.folder / "dataset.json").unlink()
    config = tmp_path / "config.toml"
    config.write_text(f'[inference]\nmodels_folder = "{models}"\n')
    done = dicomnode("models", "verify", "-c", str(config))
    assert done.returncode == 2
    assert f"model {first.identity.name}: SHA-256 is" in done.stdout
    assert f"{second.identity.name}: as pinned" in done.stdout
    assert f"model {third.identity.name}: {third.folder / 'dataset.json'} is missing" in done.stdout
    assert "2 of 3 networks are not as pinned" in done.stderr


@pytest.mark.parametrize("trainer", ["nnUNetTrainerNoMirroring", "nnUNetTrainer_250epochs"])
def test_trainers_that_come_with_nnunetv2_are_found_whatever_else_can_not_be_imported(
    copy: Callable[[str], Path], models: Path, trainer: str
) -> None:
    source = copy(FACE)
    _change_checkpoint(source, trainer_name=trainer)
    (model,) = _install(source, models).models
    assert model.trainer == ""
    assert not any("built as" in line for line in model.card["chosen"])
