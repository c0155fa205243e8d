"""From plans and checkpoint to the torch network, as nnunetv2's predictor builds it.

`plans.json` names classes that nnunetv2 imports and calls. In an archive from elsewhere that is
code by another way than the pickle, so only classes of the libraries that nnU-Net's own
architectures are made of are let through.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pkgutil
import pydoc
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnode.errors import ModelError
from dicomnode.inference.checkpoints import Checkpoint
from dicomnode.inference.json_files import read_json

# The trainer whose architecture is the one in the plans, whatever else a custom one changed.
BASE_TRAINER = "nnUNetTrainer"
EXTERNAL_TRAINERS = "nnUNet_extTrainer"  # nnunetv2's own variable, which names folders

_NETWORKS = re.compile(r"dynamic_network_architectures(\.\w+)+")
_PARTS = re.compile(r"(dynamic_network_architectures|torch\.nn)(\.\w+)+")


@dataclass(frozen=True)
class Built:
    """A network with its first fold's weights, and what the predictor needs beside it."""

    network: Any
    plans: Any
    configuration: Any
    dataset: Mapping[str, Any]
    trainer: str  # the one whose `build_network_architecture` built it


def build(folder: Path, checkpoint: Checkpoint, name: str, trainer: str = "") -> Built:
    """The network of `checkpoint` by the plans in `folder`, its weights loaded strictly.

    `trainer`: builds it in place of the one that the checkpoint names; empty: that one. Raises
    `ModelError` where nnunetv2 does not know the trainer, or the weights don't fit.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    wanted = trainer or str(checkpoint["trainer_name"])
    trainer_class = _trainer_class(wanted)
    if trainer_class is None:
        raise ModelError(
            f"model {name}: nnunetv2 knows no trainer {wanted}. If its network is the one in the "
            f'plans, write "trainer": "{BASE_TRAINER}" into card.json and pin it again; '
            "`dicomnode models install` finds that out by itself"
        )
    try:
        dataset = read_json(folder / "dataset.json")
        plans = PlansManager(read_json(folder / "plans.json"))
        configuration = plans.get_configuration(checkpoint["init_args"]["configuration"])
        settle_architecture(configuration)
        network = _architecture(trainer_class, plans, configuration, dataset)
        network.load_state_dict(checkpoint["network_weights"])
    except ModelError as error:
        raise ModelError(f"model {name}: {error}") from None
    except Exception as error:  # whatever a foreign file makes nnunetv2 raise
        raise ModelError(f"model {name}: can't be built: {_first_lines(error)}") from error
    return Built(network, plans, configuration, dataset, trainer_class.__name__)


def knows_trainer(name: str) -> bool:
    """Whether nnunetv2 has a trainer of this name here."""
    return _trainer_class(name) is not None


def settle_architecture(configuration: Any) -> None:
    """Have `configuration` name the network's class by its present place.

    Raises `ModelError` unless every class that the plans name is one that nnU-Net builds from. A
    dotted name may pass through a module into whatever that imported, so the class that it leads
    to counts, not the name alone.
    """
    kwargs = configuration.network_arch_init_kwargs
    imports = configuration.network_arch_init_kwargs_req_import
    name = configuration.network_arch_class_name
    network = _network_class(name)
    named = [(name, network, _NETWORKS)]
    named += [(kwargs[key], _part(kwargs[key]), _PARTS) for key in imports if kwargs[key]]
    for dotted, found, pattern in named:
        if found is None or not pattern.fullmatch(f"{found.__module__}.{found.__name__}"):
            raise ModelError(
                f"plans.json builds with {dotted}, which is none of the classes of nnU-Net's own "
                "architectures (torch.nn, dynamic_network_architectures): not built"
            )
    if network is not None:  # where it is now: nnunetv2's own search needs libraries of others
        place = f"{network.__module__}.{network.__name__}"
        configuration.configuration["architecture"]["network_class_name"] = place


def _network_class(name: str) -> type | None:
    """Where its name says, or, since classes have moved, by its last part among the U-Nets."""
    from dynamic_network_architectures.architectures import unet

    if "." in name and not _NETWORKS.fullmatch(name):
        return None
    found = pydoc.locate(name)
    return _module_class(getattr(unet, name.rpartition(".")[2], None) if found is None else found)


def _part(name: str) -> type | None:
    return _module_class(pydoc.locate(name)) if _PARTS.fullmatch(name) else None


def _module_class(found: object) -> type | None:
    import torch

    return found if isinstance(found, type) and issubclass(found, torch.nn.Module) else None


def _trainer_class(name: str) -> Any:
    """The trainer of this name in nnunetv2, else in the folders of nnUNet_extTrainer, else None.

    nnunetv2's own search ends at the first module that can't be imported, and some need libraries
    that are missing here or don't fit; such a module has none of the trainers that this node runs.
    """
    from nnunetv2.training import nnUNetTrainer as package  # noqa: N813
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", lambda _: None):
        with contextlib.suppress(Exception):
            found = getattr(importlib.import_module(item.name), name, None)
            if _is_trainer(found):
                return found
    if os.environ.get(EXTERNAL_TRAINERS):
        with contextlib.suppress(Exception):
            return recursive_find_trainer_class_by_name(name)
    return None


def _is_trainer(found: object) -> bool:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    return isinstance(found, type) and issubclass(found, nnUNetTrainer)


def _architecture(trainer: Any, plans: Any, configuration: Any, dataset: Mapping[str, Any]) -> Any:
    """As `nnUNetPredictor.initialize_from_trained_model_folder` does it, old signature included."""
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    inputs = determine_num_input_channels(plans, configuration, dataset)
    outputs = plans.get_label_manager(dataset).num_segmentation_heads
    build_with = trainer.build_network_architecture
    if "plans_manager" in inspect.signature(build_with).parameters:
        first: tuple[Any, ...] = (plans, configuration)
    else:
        first = (
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
        )
    return build_with(*first, inputs, outputs, enable_deep_supervision=False)


def _first_lines(error: Exception, most: int = 4) -> str:
    """torch lists every weight that does not fit, one a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    more = f" ... and {len(lines) - most} more lines" if len(lines) > most else ""
    return f"{type(error).__name__}: {' '.join(lines[:most])[:600]}{more}"
