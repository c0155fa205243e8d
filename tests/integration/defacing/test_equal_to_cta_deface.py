"""The mask of a network of CTA-DEFACE's layout is that of the published script, voxel for voxel.

The script has nnU-Net predict with fold `all`, and nnU-Net's defaults: mirroring, half a patch a
step. The released weights have no licence that would let them lie here: these are random, in the
same layout, but smaller.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from dicomnode.config import InferenceSettings, Settings
from dicomnode.defacing.slices import read_nifti_slices
from dicomnode.dicom.resample import mask_to_source
from dicomnode.domain import ModelIdentity, SegmentKind
from dicomnode.inference.assessment import segment
from dicomnode.inference.models import Model, digest
from dicomnode.inference.nnunet import Network
from dicomnode.training.drawn import draw_head
from tests import trained
from tests.remembering import Memory, networks

LAYOUT = Path("Dataset001_DEFACE", "nnUNetTrainer__nnUNetPlans__3d_fullres")
STAGES, PATCH_VOXELS = 6, (64, 32, 32)
CT_NORMALIZATION = {"mean": 60.0, "median": 50.0, "std": 300.0, "min": -1024.0, "max": 3071.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as nnU-Net leaves it: plain U-Net, six stages, CT normalisation, fold all."""
    folder = tmp_path_factory.mktemp("models") / LAYOUT
    recipe = trained.Recipe("Dataset001_DEFACE", {"background": 0, "face": 1})
    plans, dataset = trained.plans(recipe), trained.dataset_json(recipe)
    dataset["channel_names"] = {"0": "CT"}
    limits = {"percentile_00_5": -900.0, "percentile_99_5": 1200.0}
    plans["foreground_intensity_properties_per_channel"] = {"0": CT_NORMALIZATION | limits}
    configuration = plans["configurations"]["3d_fullres"]
    configuration |= {
        "normalization_schemes": ["CTNormalization"],
        "patch_size": list(PATCH_VOXELS),
        "spacing": [8.0, 7.5, 7.5],
    }
    architecture = configuration["architecture"]
    architecture["arch_kwargs"] |= {
        "n_stages": STAGES,
        "features_per_stage": [4, 4, 4, 8, 8, 8],
        "kernel_sizes": [[3, 3, 3]] * STAGES,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (STAGES - 1),
        "n_conv_per_stage": [2] * STAGES,
        "n_conv_per_stage_decoder": [2] * (STAGES - 1),
    }
    (folder / "fold_all").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    torch.save(_random_checkpoint(architecture), folder / "fold_all" / "checkpoint_final.pth")
    return folder


def _random_checkpoint(architecture: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(7)
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        2,
        allow_init=True,
        deep_supervision=False,
    )
    return {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT in Hounsfield units, as dcm2niix writes one that lies straight."""
    image = sitk.GetImageFromArray(np.rint(draw_head(5, "CT", spacing_mm=7.0).array))
    image = sitk.Cast(image, sitk.sitkInt16)
    image.SetSpacing((7.0, 7.0, 7.0))
    image.SetOrigin((-120.0, -90.0, 700.0))
    path = tmp_path_factory.mktemp("scans") / "head_0000.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def published(model: Path, scan: Path, out: Path) -> np.ndarray:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as ours: another number adds in another order
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), ("all",), "checkpoint_final.pth")
    predictor.predict_from_files_sequential(str(scan.parent), str(out), overwrite=True)
    torch.set_num_threads(before)
    (made,) = out.glob("*.nii.gz")
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(made)))) > 0


def test_our_mask_before_it_grows_is_that_of_the_published_script(
    model: Path, scan: Path, tmp_path: Path
) -> None:
    theirs = published(model, scan, tmp_path)
    inference = InferenceSettings(device="cpu", cpu_threads=1, mirroring=True)
    settings, face = Settings(inference=inference), Network(pinned(model), inference)
    others = networks(Memory())[:2]
    source = read_nifti_slices(scan, "CT")
    seen = segment(source.volume, source.claims, [*others, face], settings)
    ours = mask_to_source(
        seen.masks[SegmentKind.FACE], seen.canonical, source.volume.geometry
    ).astype(bool)
    assert ours.shape == theirs.shape
    assert 0.02 < theirs.mean() < 0.98, "it says too little"
    np.testing.assert_array_equal(ours, theirs)


def pinned(folder: Path) -> Model:
    identity = ModelIdentity(SegmentKind.FACE, LAYOUT.parts[0], "1", "")
    draft = Model(identity, folder, ("all",), "checkpoint_final.pth", ("CT",), "none", "test")
    return replace(draft, identity=replace(identity, sha256=digest(draft)))
