"""nnU-Net v2 through `nnunetv2`'s own predictor.

Only this module and those that it is built on (`checkpoints`, `architecture`, `predictor`,
`preparing`, `resampling`, `answering`) import torch.

A network is loaded once and kept warm. The result is nnU-Net's own: its sliding window, and its
preprocessing and export with nothing done twice or in vain, so `nnUNetv2_predict_from_modelfolder`
gives the same mask for the same step and mirroring.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from dicomnode.config import InferenceSettings
from dicomnode.domain import ModelIdentity
from dicomnode.errors import ModelError
from dicomnode.inference.architecture import BASE_TRAINER, Built, build, knows_trainer
from dicomnode.inference.checkpoints import Checkpoint, load_checkpoint
from dicomnode.inference.labels import channel_names
from dicomnode.inference.memory import NetworkSize
from dicomnode.inference.models import Model, verify

if TYPE_CHECKING:
    from dicomnode.inference.preparing import Preparing

log = logging.getLogger("dicomnode.inference")

# nnU-Net's readers that reorient give their networks axes toward head, anterior and right.
_AS_IS = (slice(None), slice(None), slice(None))
_TURNED = (slice(None), slice(None, None, -1), slice(None, None, -1))

Beat = Callable[[], None]
Axes = tuple[slice, slice, slice]
Spacing = tuple[float, float, float]
Mask = npt.NDArray[np.uint8]


def still() -> None:
    """Nobody watches."""


class Network:
    """A pinned nnU-Net, loaded and ready; `segment` may be called any number of times."""

    def __init__(
        self,
        model: Model,
        settings: InferenceSettings,
        beat: Beat = still,
        preparing: Preparing | None = None,
    ) -> None:
        """`preparing` is shared by networks that look at the same volumes."""
        verify(model)
        self.identity: ModelIdentity = model.identity
        self.modalities = model.modalities
        self.falls: tuple[str, ...] = ()
        self._labels = model.labels
        self._predictor = _load(model, settings, beat)
        self._preparing = preparing or new_preparing()
        self._does_own = settings.own_resampling and self._preparing.can_prepare(self._predictor)
        reader = self._predictor.plans_manager.plans.get("image_reader_writer", "")
        self._reads_ras = str(reader).endswith("WithReorient")

    @property
    def size(self) -> NetworkSize:
        """What its memory depends on."""
        return self._predictor.size  # type: ignore[no-any-return]

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> npt.NDArray[np.uint8]:
        """The binary mask of `array`, on its grid.

        `array` has the axes (z, y, x) toward head, posterior and left, `spacing_mm` likewise;
        CT in Hounsfield units, MR in any unit. The mask is where nnU-Net answers one of the labels
        that the manifest names, or, where it names none, any but background. `falls` says
        afterwards what a device without enough memory made worse or slower.
        """
        turned = _TURNED if self._reads_ras else _AS_IS
        predict = self._mask if self._does_own else self._mask_by_nnunet
        with _quiet():
            mask, falls = self._predictor.falling(lambda: predict(array, turned, spacing_mm))
        self.falls = tuple(f"network {self.identity.kind.value}: {fall}" for fall in falls)
        for fall in self.falls:
            log.warning("out of device memory", extra={"fall": fall})
        return np.ascontiguousarray(mask[turned], dtype=np.uint8)

    def _mask(self, array: npt.NDArray[np.float32], turned: Axes, spacing_mm: Spacing) -> Mask:
        """On the turned grid."""
        from dicomnode.inference.answering import mask_of

        prepared = self._preparing.prepare(array, turned, spacing_mm, self._predictor)
        logits = self._predictor.predict_logits_from_preprocessed_data(prepared.data)
        return mask_of(logits, prepared, self._predictor, self._labels)

    def _mask_by_nnunet(
        self, array: npt.NDArray[np.float32], turned: Axes, spacing_mm: Spacing
    ) -> Mask:
        image, properties = array[turned][np.newaxis], {"spacing": list(spacing_mm)}
        answer = np.asarray(self._predictor.predict_single_npy_array(image, properties))
        inside = np.isin(answer, self._labels) if self._labels else answer > 0
        return cast("Mask", inside.astype(np.uint8))


def new_preparing() -> Preparing:
    """For networks that look at the same volumes: what they all need is made once."""
    _torch()
    from dicomnode.inference.preparing import Preparing

    return Preparing()


def load_networks(
    models: Sequence[Model], settings: InferenceSettings, beat: Beat = still
) -> tuple[Network, ...]:
    """Load every pinned network once; raises `ModelError` for the first that is not as pinned.

    `beat` is called at every step of a network's sliding window.
    """
    preparing = new_preparing()
    networks = tuple(Network(model, settings, beat, preparing) for model in models)
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


def _load(model: Model, settings: InferenceSettings, beat: Beat) -> Any:
    torch = _torch()
    from dicomnode.inference.predictor import Predictor

    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    device = torch.device(device_name(settings.device))
    with _quiet():
        predictor = Predictor(
            tile_step_size=settings.tile_step,
            use_mirroring=settings.mirroring,
            device=device,
            allow_tqdm=False,
        )
        built, checkpoints = _built(model)
        if settings.precision != "auto":
            _compute_in(built.network, device.type, getattr(torch, settings.precision))
        _beat_at_each_step(built.network, beat)
        _initialise(predictor, built, checkpoints)
    return predictor


def check(model: Model) -> None:
    """Raises `ModelError` unless every fold loads and fits the network that its plans describe."""
    _torch()
    with _quiet():
        built, checkpoints = _built(model)
        _require_one_image(built, model.identity.name)
        for fold, checkpoint in zip(model.folds, checkpoints, strict=True):
            _require_fitting(built, checkpoint, f"model {model.identity.name}: fold {fold}")


@dataclass(frozen=True)
class Substitute:
    """The trainer that builds a network in place of its own, and sentences about it."""

    trainer: str
    remark: str
    otherwise: str  # for when the weights don't fit what it builds


def substitute_trainer(model: Model) -> Substitute | None:
    """nnU-Net's base trainer for a network whose own one nnunetv2 does not have; else None."""
    _torch()
    fold = model.folder / f"fold_{model.folds[0]}"
    own = str(load_checkpoint(fold / model.checkpoint, model.identity.name)["trainer_name"])
    with _quiet():
        if model.trainer or knows_trainer(own):
            return None
    return Substitute(
        BASE_TRAINER,
        f"built as {BASE_TRAINER} builds it: nnunetv2 here knows no trainer {own}",
        f"nnunetv2 here knows no trainer {own}, and {BASE_TRAINER} does not build its network. "
        "Get the trainer's code from its makers and name its folder in nnUNet_extTrainer, or name "
        "another trainer with --trainer",
    )


def _require_one_image(built: Built, name: str) -> None:
    if built.configuration.previous_stage_name is not None:
        raise ModelError(f"model {name}: a cascade, which needs the mask of another network")
    channels = channel_names(built.dataset)
    if len(channels) != 1:
        raise ModelError(
            f"model {name}: needs {len(channels)} images of one head at once "
            f"({', '.join(channels)}); the node examines one volume at a time"
        )


def _require_fitting(built: Built, checkpoint: Checkpoint, what: str) -> None:
    weights, wanted = checkpoint["network_weights"], built.network.state_dict()
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in wanted.items()}:
        raise ModelError(f"{what}: its weights are not those of the network in plans.json")
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise ModelError(f"{what}: some of its weights are no numbers; its training failed")


def _built(model: Model) -> tuple[Built, list[Checkpoint]]:
    """The network with the weights of its first fold, and the checkpoints of all folds."""
    name = model.identity.name
    checkpoints = [
        load_checkpoint(model.folder / f"fold_{fold}" / model.checkpoint, name)
        for fold in model.folds
    ]
    return build(model.folder, checkpoints[0], name, model.trainer), checkpoints


def _initialise(predictor: Any, built: Built, checkpoints: Sequence[Checkpoint]) -> None:
    predictor.manual_initialization(
        built.network,
        built.plans,
        built.configuration,
        [checkpoint["network_weights"] for checkpoint in checkpoints],
        built.dataset,
        built.trainer,
        checkpoints[0].get("inference_allowed_mirroring_axes") or None,
    )


def _compute_in(network: Any, device: str, dtype: Any) -> None:
    """Let the network compute in `dtype`, whatever nnU-Net's predictor chose for the device."""
    import torch

    forward, reduced = network.forward, dtype != torch.float32

    def in_dtype(x: Any) -> Any:
        with torch.autocast(device, dtype=dtype if reduced else None, enabled=reduced):
            return forward(x).float()

    network.forward = in_dtype


def _beat_at_each_step(network: Any, beat: Beat) -> None:
    forward = network.forward

    def beating(x: Any) -> Any:
        beat()
        return forward(x)

    network.forward = beating


def _torch() -> Any:
    """nnunetv2 asks for three folders of its training at import; a predictor needs none."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, os.devnull)
    import torch

    return torch


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """nnunetv2 prints and warns, of older plans for one; the node's output is its own."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
