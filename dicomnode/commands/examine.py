"""`examine`: folders and files, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dicomnode.commands.common import Config, NiftiModality, err, progress_bar, quiet_settings
from dicomnode.errors import DicomnodeError


def examine(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the masks go.")],
    nifti_modality: NiftiModality = None,
    config: Config = None,
) -> None:
    """Examine DICOM folders or NIfTI files: masks, and one JSON line of evidence per volume."""
    from dicomnode.app import batch
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.inference.nnunet import load_networks

    settings = quiet_settings(config)
    models = installed_examiner(settings).models
    out_folder.mkdir(parents=True, exist_ok=True)
    with (
        progress_bar() as bar,
        (out_folder / "results.jsonl").open("w", encoding="utf-8") as results,
    ):
        task = bar.add_task("looking for series", total=None)
        found = batch.find(paths, lambda files: bar.advance(task, files))
        if not found.count:
            raise DicomnodeError(f"{', '.join(map(str, paths))}: no DICOM or NIfTI file in it")
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

        modality = nifti_modality or ""
        tally = batch.examine_all(found, networks, settings, out_folder, report, stage, modality)
    err.print(
        f"{tally.examined} examined, {tally.refused} refused or set aside, {tally.failed} failed; "
        f"masks and results.jsonl are in {out_folder}",
        highlight=False,
    )
    if not tally.complete:
        raise typer.Exit(1)
