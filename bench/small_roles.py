"""The node's own roles with networks that take no time: a threshold instead of nnU-Net.

    python bench/small_roles.py serve|scp|web|work --config CONFIG.toml

Everything else is the node: receiver, spool, database, engine, examining process, evidence, SEG,
verdict, delivery. No pictures of the skin: VTK would take most of the time.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicomnode.app import stages
from dicomnode.app.examining_process import Pulse, Tasks
from dicomnode.config import Settings
from dicomnode.domain import Examination, ModelIdentity, Revision, SegmentKind
from dicomnode.errors import RenderingError

THIS_PROGRAM = Path(__file__).resolve()


@dataclass(frozen=True)
class Threshold:
    """Marks what is above a value."""

    kind: SegmentKind
    above: float
    modalities: tuple[str, ...] = ("CT", "MR")
    falls: tuple[str, ...] = ()

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(self.kind, f"threshold_{self.kind.value}", "1", f"{self.above:064.0f}")

    def segment(
        self, array: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> npt.NDArray[np.uint8]:
        return (array > self.above).astype(np.uint8)


def load_thresholds(settings: Settings, pulse: Pulse) -> Tasks:
    """In place of `stages.load_tasks`, in the examining process."""
    from dicomnode.defacing.copy import copy_series
    from dicomnode.inference import assessment
    from dicomnode.inference.examine import examine

    def unpictured(*_: Any) -> Any:
        raise RenderingError("nobody looks at the pictures of a bench")

    vars(assessment)["render"] = unpictured
    networks = (Threshold(SegmentKind.FOREGROUND, 200.0), Threshold(SegmentKind.FACE, 700.0))

    def examine_revision(revision: Revision) -> Examination:
        folder = stages.result_folder(settings.results_folder, revision, "0" * 64)
        return examine(revision, networks, settings, folder, pulse.step)

    return Tasks(examine_revision, lambda order: copy_series(order, networks, settings))


def serve(config: Path) -> None:
    """`dicomnode serve`, whose roles are those of this program and come back soon."""
    from dicomnode import config as configuration
    from dicomnode.app.supervisor import Supervisor, roles_of
    from dicomnode.commands.common import stop_on_signals
    from dicomnode.tracking.database import Database

    settings = configuration.load(config)
    Database(settings.database_url).migrate()
    program = (sys.executable, str(THIS_PROGRAM))
    supervisor = Supervisor(
        config, roles_of(settings), stop_on_signals(), program=program, longest_pause_seconds=1.0
    )

    def ready() -> None:
        config.with_suffix(f".{os.getpid()}").touch()
        print(f"the node listens as {settings.scp.ae_title}", file=sys.stderr, flush=True)

    supervisor.run(ready)


def main() -> None:
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[3]))
        return
    from dicomnode.cli import main as run

    stages.load_tasks = load_thresholds
    run()


if __name__ == "__main__":
    main()
