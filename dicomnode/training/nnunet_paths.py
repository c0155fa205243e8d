"""nnU-Net finds its folders through environment variables: set for a block, then put back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATASETS, RESULTS = "preprocessed", "results"


@contextmanager
def nnunet_folders(root: Path) -> Iterator[None]:
    """Data sets under `root`/preprocessed, trainings under `root`/results; no worker processes."""
    wanted = {
        "nnUNet_raw": str(root / "raw"),
        "nnUNet_preprocessed": str(root / DATASETS),
        "nnUNet_results": str(root / RESULTS),
        "nnUNet_n_proc_DA": "0",
        "nnUNet_compile": "false",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
