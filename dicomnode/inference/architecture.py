"""From plans and checkpoint to the torch network, as nnunetv2's predictor builds it.

`plans.json` names classes that nnunetv2 imports and calls. In an archive from elsewhere that is
code by another way than the pickle, so only classes of the libraries that nnU-Net's own
architectures are made of are let through.
"""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnode.errors import ModelError
from dicomnode.inference.checkpoints import Checkpoint
from dicomnode.inference.layout import read_json

# The trainer whose architecture is the one in the plans, whatever else a custom one changed.
BASE_TRAINER = "nnUNetTrainer"

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
        require_known_architecture(configuration)
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


def require_known_architecture(configuration: Any) -> None:
    """Raises `ModelError` unless every class that the plans name is one that nnU-Net builds from.

    A dotted name may pass through a module into whatever that imported, so the class that it leads
    to counts, not the name alone.
    """
    kwargs = configuration.network_arch_init_kwargs
    imports = configuration.network_arch_init_kwargs_req_import
    name = configuration.network_arch_class_name
    named = [(name, _network_class(name), _NETWORKS)]
    named += [(kwargs[key], _part(kwargs[key]), _PARTS) for key in imports if kwargs[key]]
    for dotted, found, pattern in named:
        if found is None or not pattern.fullmatch(f"{found.__module__}.{found.__name__}"):
            raise ModelError(
                f"plans.json builds with {dotted}, which is none of the classes of nnU-Net's own "
                "architectures (torch.nn, dynamic_network_architectures): not built"
            )


def _network_class(name: str) -> type | None:
    """As `get_network_from_plans` finds it: where its name says, else by its last part."""
    import dynamic_network_architectures as library
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    if "." in name and not _NETWORKS.fullmatch(name):
        return None
    found = pydoc.locate(name)
    if found is None:
        package = f"{library.__name__}.architectures"
        folder = str(Path(library.__path__[0]) / "architectures")
        found = recursive_find_python_class(folder, name.rpartition(".")[2], package)
    return _module_class(found)


def _part(name: str) -> type | None:
    return _module_class(pydoc.locate(name)) if _PARTS.fullmatch(name) else None


def _module_class(found: object) -> type | None:
    import torch

    return found if isinstance(found, type) and issubclass(found, torch.nn.Module) else None


def _trainer_class(name: str) -> Any:
    """None where there is none: nnunetv2 takes any attribute of that name, so look what it is."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        found = recursive_find_trainer_class_by_name(name)
    except (RuntimeError, AssertionError, TypeError, ImportError):
        return None
    return found if isinstance(found, type) and issubclass(found, nnUNetTrainer) else None


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
