"""`examine`: folders and files, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicomnode.commands.batches import batch_run
from dicomnode.commands.common import Config, NiftiModality, err, quiet_settings


def examine(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the masks go.")],
    nifti_modality: NiftiModality = None,
    config: Config = None,
) -> None:
    """Examine DICOM folders or NIfTI files: masks, and one JSON line of evidence per volume."""
    from dicomnode.app.batch import examine_all

    settings, modality = quiet_settings(config), nifti_modality or ""
    with batch_run(paths, settings, out_folder, "results.jsonl") as run:
        tally = examine_all(
            run.found, run.networks, settings, out_folder, run.report, run.stage, modality
        )
    err.print(
        f"{tally.examined} examined, {tally.refused} refused or set aside, {tally.failed} failed; "
        f"masks and results.jsonl are in {out_folder}",
        highlight=False,
    )
    if not tally.complete:
        raise typer.Exit(1)
