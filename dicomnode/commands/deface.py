"""`deface`: the face removed from DICOM series, and the proof that it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dicomnode.commands.common import Config, err, progress_bar, quiet_settings
from dicomnode.errors import DicomnodeError


def deface(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the copies go.")],
    config: Config = None,
) -> None:
    """Remove the face from DICOM series; what is proven lies in OUT/defaced, the rest in OUT/held.

    Headers still name the patient. Exit code 0 where every series is proven, else 1.
    """
    from dicomnode.app import batch
    from dicomnode.app.deface import deface_all
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.inference.nnunet import load_networks

    settings = quiet_settings(config)
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

        tally = deface_all(found, networks, settings, out_folder, report, stage)
    err.print(
        f"{tally.defaced} defaced and proven, {tally.held} held, {tally.failed} failed; "
        f"deface.jsonl is in {out_folder}",
        highlight=False,
    )
    if not tally.complete:
        raise typer.Exit(1)
