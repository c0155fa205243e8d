"""nnU-Net's checkpoints, loaded without running what stands in them.

A checkpoint is a pickle. `torch.load(weights_only=True)` takes tensors and plain values only;
nnU-Net's own trainer also stores numpy scalars in its log (`logging`, `_best_ema`). Those, and
nothing else, are allowed by name here, under the names that numpy 1 and numpy 2 give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from dicomnode.errors import ModelError

Checkpoint = dict[str, Any]

# What nnU-Net's predictor reads; a file without them is no checkpoint of nnU-Net v2.
NEEDED = ("network_weights", "init_args", "trainer_name")

_SCALAR_DTYPES = ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
_OTHER_DTYPES = ("Float16", "Float32", "Float64", "Str")


def _allowed() -> list[Any]:
    """The explicit list for `torch.serialization.safe_globals`: values and their names."""
    from numpy._core import multiarray

    dtypes = [getattr(np.dtypes, f"{name}DType") for name in (*_SCALAR_DTYPES, *_OTHER_DTYPES)]
    named = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ]
    return [np.dtype, np.ndarray, *dtypes, *named]


def load_checkpoint(path: Path, name: str) -> Checkpoint:
    """The content of a checkpoint of the network `name`, on the CPU.

    Raises `ModelError` that says why where it holds anything but tensors and plain values, is
    damaged, or is no checkpoint of nnU-Net.
    """
    import torch

    try:
        with torch.serialization.safe_globals(_allowed()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"model {name}: {path} is missing; install it again") from None
    except Exception as error:  # torch raises many kinds; all mean "not loadable"
        raise ModelError(f"model {name}: {path.name} {_why(path, error)}") from error
    if not isinstance(loaded, Mapping) or any(key not in loaded for key in NEEDED):
        raise ModelError(
            f"model {name}: {path.name} is no checkpoint of nnU-Net v2: it has to hold "
            f"{', '.join(NEEDED)}"
        )
    return cast("Checkpoint", loaded)


def _why(path: Path, error: Exception) -> str:
    """One sentence; torch's own message runs over many lines and advises to load it anyway."""
    if foreign := _foreign_names(path):
        return (
            "can't be loaded safely: beside tensors and plain values it holds "
            f"{', '.join(foreign)}, and loading that would run code from the file. Ask its makers "
            "for a checkpoint without it"
        )
    said = str(error).rpartition("WeightsUnpickler error:")[2].strip().splitlines() or [""]
    return f"is damaged, or no checkpoint: {type(error).__name__} {said[0]}".rstrip()


def _foreign_names(path: Path) -> list[str]:
    """Names in the pickle that are neither torch's own plain ones nor on the list."""
    import torch

    with torch.serialization.safe_globals(_allowed()):
        try:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:  # noqa: BLE001  a damaged or a very old file: no names to give
            return []
