"""nnU-Net v2 through `nnunetv2`'s own predictor: the only place that imports torch.

A network is loaded once and kept warm. The result is nnU-Net's own: same preprocessing, sliding
window and export, so `nnUNetv2_predict_from_modelfolder` gives the same mask for the same step
and mirroring.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dicomnode.config import InferenceSettings
from dicomnode.domain import ModelIdentity
from dicomnode.errors import ModelError
from dicomnode.inference.models import Model, verify

log = logging.getLogger("dicomnode.inference")


class Network:
    """A pinned nnU-Net, loaded and ready; `segment` may be called any number of times."""

    def __init__(self, model: Model, settings: InferenceSettings) -> None:
        verify(model)
        self.identity: ModelIdentity = model.identity
        self.modalities = model.modalities
        self._predictor = _load(model, settings)

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> npt.NDArray[np.uint8]:
        """The binary mask of `array`, on its grid.

        `array` has the axes (z, y, x) toward head, posterior and left, `spacing_mm` likewise;
        CT in Hounsfield units, MR in any unit.
        """
        with _quiet():
            labels = self._predictor.predict_single_npy_array(
                array[np.newaxis], {"spacing": list(spacing_mm)}
            )
        return cast("npt.NDArray[np.uint8]", (np.asarray(labels) > 0).astype(np.uint8))


def load_networks(models: Sequence[Model], settings: InferenceSettings) -> tuple[Network, ...]:
    """Load every pinned network once; raises `ModelError` for the first that is not as pinned."""
    networks = tuple(Network(model, settings) for model in models)
    for network in networks:
        log.info("network loaded", extra={"model": network.identity.name})
    return networks


def device_name(wanted: str) -> str:
    """`auto` is `cuda` where there is a GPU that torch can use, else `cpu`; a `cuda` or `cuda:N`
    wanted in vain raises."""
    torch = _torch()
    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda" if usable else "cpu"
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and int(number or 0) >= usable:
        raise ModelError(f"device {wanted}: torch finds {usable} usable GPU(s); use auto or cpu")
    return wanted


def _load(model: Model, settings: InferenceSettings) -> Any:
    torch = _torch()
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    with _quiet():
        predictor = nnUNetPredictor(
            tile_step_size=settings.tile_step,
            use_mirroring=settings.mirroring,
            device=torch.device(device_name(settings.device)),
            allow_tqdm=False,
        )
        checkpoints = [
            _checkpoint(model, model.folder / f"fold_{fold}" / model.checkpoint)
            for fold in model.folds
        ]
        _initialise(predictor, model, checkpoints)
    return predictor


def _checkpoint(model: Model, path: os.PathLike[str]) -> dict[str, Any]:
    """nnU-Net unpickles checkpoints freely; here only tensors and plain values may be in them."""
    torch = _torch()
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return cast("dict[str, Any]", loaded)
    except Exception as error:  # torch raises many kinds; all mean "not loadable"
        raise ModelError(
            f"model {model.identity.name}: {path} can't be loaded safely (weights_only): {error}"
        ) from error


def _initialise(predictor: Any, model: Model, checkpoints: list[dict[str, Any]]) -> None:
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(load_json(str(model.folder / "plans.json")))
    dataset = load_json(str(model.folder / "dataset.json"))
    first = checkpoints[0]
    configuration = plans.get_configuration(first["init_args"]["configuration"])
    trainer = recursive_find_trainer_class_by_name(first["trainer_name"])
    network = trainer.build_network_architecture(
        plans,
        configuration,
        determine_num_input_channels(plans, configuration, dataset),
        plans.get_label_manager(dataset).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    predictor.manual_initialization(
        network,
        plans,
        configuration,
        [checkpoint["network_weights"] for checkpoint in checkpoints],
        dataset,
        first["trainer_name"],
        first.get("inference_allowed_mirroring_axes"),
    )


def _torch() -> Any:
    """nnunetv2 asks for three folders of its training at import; a predictor needs none."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, os.devnull)
    import torch

    return torch


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """nnunetv2 prints; the node's output is its own."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
