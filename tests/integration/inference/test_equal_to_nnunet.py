"""What the node's network answers is what nnU-Net's own command line answers, voxel for voxel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dicomnode.config import InferenceSettings
from dicomnode.domain import ModelIdentity, SegmentKind
from dicomnode.inference.models import Model, digest
from dicomnode.inference.nnunet import Network
from tests.integration.inference.conftest import ANONYMISED, FOREGROUND

COMMAND = Path(sys.executable).with_name("nnUNetv2_predict_from_modelfolder")

# Turned 20 degrees about the long axis of the body, with two axes running backwards.
_C, _S = np.cos(np.radians(20.0)), np.sin(np.radians(20.0))
OBLIQUE = (-_C, _S, 0.0, _S, _C, 0.0, 0.0, 0.0, -1.0)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def _blobs(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Noise that neighbours share, in a frame of zeros that nnU-Net crops away."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5) * 400 + 100
    array = np.zeros(shape, np.float32)
    array[2:-3, 1:-2, 3:-1] = noise[2:-3, 1:-2, 3:-1]
    return array


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NIfTI files named as nnU-Net wants them; spacing is (x, y, z) here, as SimpleITK has it."""
    folder = tmp_path_factory.mktemp("images")
    for name, shape, spacing, direction in (
        ("regular", (23, 22, 20), (1.5, 1.5, 2.0), IDENTITY),
        ("thick_slices", (6, 34, 38), (0.9, 0.9, 7.0), IDENTITY),
        ("oblique", (18, 19, 28), (1.1, 1.7, 2.6), OBLIQUE),
        ("small", (9, 14, 13), (1.5, 1.5, 2.0), IDENTITY),
    ):
        image = sitk.GetImageFromArray(_blobs(shape, len(name)))
        image.SetSpacing(spacing)
        image.SetDirection(direction)
        image.SetOrigin((-30.0, 12.5, 700.0))
        sitk.WriteImage(image, str(folder / f"{name}_0000.nii.gz"))
    return folder


def _predicted(model: Path, images: Path, out: Path, *options: str) -> dict[str, np.ndarray]:
    """The masks of nnU-Net's own command, run as users run it."""
    command = [str(COMMAND), "-i", str(images), "-o", str(out), "-m", str(model)]
    # One thread: a machine that others use makes two wait for each other without end.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet")}
    environment |= {"nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-device", "cpu", "-npp", "1", "-nps", "1", *options],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return _masks_in(out)


def _predicted_here(
    model: Path, images: Path, out: Path, folds: Sequence[str], **options: Any
) -> dict[str, np.ndarray]:
    """The same by the class behind the command: it is three processes that load PyTorch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as ours: another number adds in another order
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, **options)
    predictor.initialize_from_trained_model_folder(str(model), folds)
    predictor.predict_from_files_sequential(str(images), str(out), overwrite=True)
    torch.set_num_threads(before)
    return _masks_in(out)


def _masks_in(out: Path) -> dict[str, np.ndarray]:
    return {
        path.name.removesuffix(".nii.gz"): sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for path in sorted(out.glob("*.nii.gz"))
    }


def _network(folder: Path, folds: Sequence[str], settings: InferenceSettings) -> Network:
    identity = ModelIdentity(SegmentKind.FOREGROUND, folder.parent.name, "1", "")
    draft = Model(identity, folder, tuple(folds), "checkpoint_final.pth", ("MR",), "none", "test")
    pinned = ModelIdentity(identity.kind, identity.name, "1", digest(draft))
    return Network(
        Model(pinned, folder, draft.folds, draft.checkpoint, ("MR",), "none", "test"), settings
    )


def test_the_mask_is_that_of_nnunets_command(results: Path, images: Path, tmp_path: Path) -> None:
    """With the command's own defaults."""
    folds = ("0", "1", "2")
    (folder,) = (results / FOREGROUND).glob("nnUNetTrainer__*")
    theirs = _predicted(folder, images, tmp_path, "-f", *folds)
    _assert_ours_are(theirs, images, folder, folds, mirroring=True)


@pytest.mark.parametrize(
    ("dataset", "theirs", "ours"),
    [
        pytest.param(FOREGROUND, {"use_mirroring": False}, {}, id="our-defaults"),
        pytest.param(
            ANONYMISED,
            {"use_mirroring": True, "tile_step_size": 0.7},
            {"mirroring": True, "tile_step": 0.7},
            id="step-0.7-residual-transposed",
        ),
    ],
)
def test_the_mask_is_that_of_nnunets_predictor(
    results: Path,
    images: Path,
    tmp_path: Path,
    dataset: str,
    theirs: dict[str, Any],
    ours: dict[str, Any],
) -> None:
    (folder,) = (results / dataset).glob("nnUNetTrainer__*")
    predicted = _predicted_here(folder, images, tmp_path, ("all",), **theirs)
    _assert_ours_are(predicted, images, folder, ("all",), **ours)


def _assert_ours_are(
    theirs: dict[str, np.ndarray], images: Path, folder: Path, folds: Sequence[str], **ours: Any
) -> None:
    network = _network(folder, folds, InferenceSettings(device="cpu", cpu_threads=1, **ours))
    assert len(theirs) == 4
    for name, expected in theirs.items():
        image = sitk.ReadImage(str(images / f"{name}_0000.nii.gz"))
        z_y_x = tuple(reversed(image.GetSpacing()))
        mask = network.segment(sitk.GetArrayFromImage(image).astype(np.float32), z_y_x)  # type: ignore[arg-type]
        assert 0.02 < expected.astype(bool).mean() < 0.98, f"{name}: says too little"
        np.testing.assert_array_equal(mask, expected > 0, err_msg=name)


def test_a_network_of_several_labels_answers_the_union_of_those_named(
    results: Path, images: Path, tmp_path: Path
) -> None:
    (folder,) = (results / ANONYMISED).glob("nnUNetTrainer__*")
    image = sitk.ReadImage(str(images / "regular_0000.nii.gz"))
    array = sitk.GetArrayFromImage(image)
    masks = {}
    for labels in ((), (1,), (2,), (1, 2)):
        identity = ModelIdentity(SegmentKind.ANONYMISED_AREA, "several", "1", "")
        model = Model(
            identity, folder, ("all",), "checkpoint_final.pth", ("MR",), "", "", labels=labels
        )
        pinned = ModelIdentity(identity.kind, "several", "1", digest(model))
        network = Network(
            Model(pinned, folder, ("all",), model.checkpoint, ("MR",), "", "", labels=labels),
            InferenceSettings(device="cpu", cpu_threads=1),
        )
        masks[labels] = network.segment(array, (2.0, 1.5, 1.5))
    assert masks[(1,)].any()
    assert masks[(2,)].any()
    assert not (masks[(1,)] & masks[(2,)]).any()
    np.testing.assert_array_equal(masks[()], masks[(1,)] | masks[(2,)])
    np.testing.assert_array_equal(masks[(1, 2)], masks[()])


def test_bfloat16_is_another_computation_of_nearly_the_same(results: Path, images: Path) -> None:
    (folder,) = (results / FOREGROUND).glob("nnUNetTrainer__*")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(images / "regular_0000.nii.gz")))
    exact, float32, short = (
        _network(
            folder, ("all",), InferenceSettings(device="cpu", cpu_threads=1, precision=precision)
        ).segment(array, (2.0, 1.5, 1.5))
        for precision in ("auto", "float32", "bfloat16")
    )
    np.testing.assert_array_equal(exact, float32)
    assert 0 < (exact != short).mean() < 0.05
