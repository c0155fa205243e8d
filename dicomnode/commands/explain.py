"""`explain`: what the node would make of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicomnode.commands.common import AsJson, Config, progress_bar, quiet_settings, show
from dicomnode.errors import DicomnodeError


def explain(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    json_: AsJson = False,
    nifti: Annotated[
        Path | None, typer.Option(help="Also write each volume there, as the networks see it.")
    ] = None,
    config: Config = None,
) -> None:
    """What the node would make of DICOM files: series, volumes, geometry, networks, refusals."""
    from dicomnode.app import batch
    from dicomnode.app.explain import explain as explain_found
    from dicomnode.app.explain_tables import as_tables
    from dicomnode.inference.examiner import installed_examiner

    settings = quiet_settings(config)
    examiner = installed_examiner(settings)
    with progress_bar() as bar:
        task = bar.add_task("looking for series", total=None)
        found = batch.find(paths, lambda files: bar.advance(task, files))
        if not found.revisions and not found.unreadable:
            raise DicomnodeError(f"{', '.join(map(str, paths))}: no DICOM file in it")
        bar.reset(task, total=len(found.revisions), description="reading series")
        explanation = explain_found(
            found, settings.series, examiner, nifti, lambda: bar.advance(task)
        )
    show(as_tables(explanation), explanation, json_)
    if explanation.has_failures:
        raise typer.Exit(1)
