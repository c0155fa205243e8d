"""`deface`: the face removed from DICOM series, and the proof that it is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.commands.common import Config, err, progress_bar, quiet_settings
from dicomnode.config import Settings
from dicomnode.errors import ConfigurationError, DicomnodeError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def deface(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the copies go.")],
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Headers too, by [deidentification].")
    ] = False,
    config: Config = None,
) -> None:
    """Remove the face from DICOM series; what is proven lies in OUT/defaced, the rest in OUT/held.

    Without --deidentify headers go on naming the patient. Exit code 0 where every series is
    proven, else 1.
    """
    from dicomnode.app import batch
    from dicomnode.app.deface import deface_all
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.inference.nnunet import load_networks

    settings = quiet_settings(config)
    finish = _deidentifier(settings) if deidentify else _leave
    models = installed_examiner(settings).models
    out_folder.mkdir(parents=True, exist_ok=True)
    with (
        progress_bar() as bar,
        (out_folder / "deface.jsonl").open("w", encoding="utf-8") as results,
    ):
        task = bar.add_task("looking for series", total=None)
        found = batch.find(paths, lambda files: bar.advance(task, files))
        if not found.count:
            raise DicomnodeError(f"{', '.join(map(str, paths))}: no DICOM file in it")
        bar.update(task, description="loading the networks")
        networks = load_networks(models, settings.inference)
        bar.reset(task, total=found.count)

        def report(lines: list[batch.Line]) -> None:
            text = "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)
            results.write(text)
            results.flush()
            print(text, end="", flush=True)
            bar.advance(task)

        def stage(text: str) -> None:
            bar.update(task, description=text)

        tally = deface_all(found, networks, settings, out_folder, finish, report, stage)
    err.print(
        f"{tally.defaced} defaced and proven, {tally.held} held, {tally.failed} failed; "
        f"deface.jsonl is in {out_folder}",
        highlight=False,
    )
    if not tally.complete:
        raise typer.Exit(1)


def _leave(_: Dataset) -> None:
    """The header stays as it is."""


def _deidentifier(settings: Settings) -> Callable[[Dataset], None]:
    from dicomnode.dicom.deidentification import Deidentifier
    from dicomnode.dicom.pseudonyms import read_key

    file = settings.deidentification.key_file
    if file is None:
        raise ConfigurationError("deidentification.key_file: needed for --deidentify")
    pseudonyms = read_key(file, "deidentification.key_file")
    return Deidentifier(pseudonyms, settings.deidentification).apply
