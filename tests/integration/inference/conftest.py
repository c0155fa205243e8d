"""Networks that nnunetv2's own trainer made a moment ago, in nnU-Net's results layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.training.nnunet_paths import RESULTS
from tests.trained import Recipe, train

FOREGROUND = "Dataset803_anatomical_foreground_v2"
ANONYMISED = "Dataset804_SEG_defaced_areas_all_v2"
FACE = "Dataset001_DEFACE"


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the trainings: `results` below it, and what they were made from."""
    root = tmp_path_factory.mktemp("training")
    train(Recipe(FOREGROUND, folds=(0, 1, 2, "all")), root)
    residual = Recipe(
        ANONYMISED,
        labels={"background": 0, "removed": 1, "replaced": 2},
        residual=True,
        transpose=(1, 0, 2),
        plans_name="nnUNetResEncUNetLPlans",
    )
    train(residual, root)
    train(Recipe(FACE), root)
    return root


@pytest.fixture(scope="session")
def results(training: Path) -> Path:
    return training / RESULTS
