"""`masks`: a data set gets the masks that a framework for pretraining reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dicomnode.commands.common import (
    Config,
    NiftiModality,
    known_device,
    progress_bar,
    quiet_settings,
    say,
)
from dicomnode.errors import DicomnodeError

if TYPE_CHECKING:
    from dicomnode.masks.batch import Setup
    from dicomnode.masks.find import Found
    from dicomnode.masks.make import Outcome
    from dicomnode.masks.report import Line


def masks(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The data set.")],
    for_: Annotated[Literal["nnssl"], typer.Option("--for", help="Who reads the masks.")],
    out: Annotated[
        Path | None, typer.Option(help="Where masks and reports go. Default: FOLDER-masks.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The collection's name, such as Dataset123_mine.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="auto, cpu, cuda or cuda:N; may be repeated.")
    ] = None,
    devices: Annotated[str, typer.Option(help="The same in one word: cuda:0,cuda:1.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes for each device.")] = 1,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out paths like this: '*_bold*'. Repeatable.")
    ] = None,
    nifti_modality: NiftiModality = None,
    config: Config = None,
) -> None:
    """Write an anatomy and an anonymization mask for every image of a data set, for nnssl.

    Run it again to go on after an interruption: finished masks of the same networks are kept.
    """
    from dicomnode.masks import batch, nnssl

    settings = quiet_settings(config)
    folder = folder.resolve()
    out = folder.with_name(f"{folder.name}-masks") if out is None else out.absolute()
    collection = nnssl.collection_name(name, out, folder)
    names = _devices(device or [], devices)
    setup = batch.set_up(settings, out, names, workers, nifti_modality or "")
    found, outcomes = _make(folder, exclude or (), setup)
    lines = batch.write_results(collection, folder, found, outcomes, setup.models, setup.job)
    _tell(lines, folder, out, collection)


def _make(folder: Path, exclude: Sequence[str], setup: Setup) -> tuple[Found, list[Outcome]]:
    """Behind a progress bar; what has no masks is told at once."""
    from dicomnode.masks import batch
    from dicomnode.masks.find import find

    with progress_bar() as bar:
        task = bar.add_task("looking for images", total=None)
        found = find(folder, exclude, lambda: bar.advance(task))
        planned = batch.plan(found, setup.job)
        bar.reset(task, total=len(found.items), completed=len(planned.done), description="masks")

        def tell(outcome: Outcome) -> None:
            bar.advance(task)
            if outcome.status in ("skipped", "failed"):
                told = f"{outcome.key}: {'; '.join(outcome.reasons)}"
                bar.console.print(told, markup=False, highlight=False, soft_wrap=True)

        return found, batch.make_all(planned, setup.devices, setup.job, tell)


def _tell(lines: Sequence[Line], folder: Path, out: Path, collection: str) -> None:
    """Raises `DicomnodeError` where nnssl gets nothing."""
    from dicomnode.masks.nnssl import FILE_NAME
    from dicomnode.masks.report import report_text

    for line in report_text(lines):
        say(line)
    if not any(volume.has_anatomy for line in lines for volume in line.outcome.volumes):
        raise DicomnodeError(f"{folder}: no image that nnssl could learn from; see {out}")
    say(f"{FILE_NAME}, report.csv and report.json are in {out}")
    if out.name != collection:
        say(f"nnssl looks for the first in a folder of its name: nnssl_raw/{collection}")


def _devices(repeated: list[str], joined: str) -> list[str]:
    names = [*repeated, *(name.strip() for name in joined.split(",") if name.strip())]
    for name in names:
        known_device(name)
    return names
