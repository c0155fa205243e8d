"""`deface`: the face removed from DICOM series, and the proof that it is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.commands.batches import batch_run
from dicomnode.commands.common import Config, NiftiModality, err, quiet_settings
from dicomnode.config import Settings
from dicomnode.errors import ConfigurationError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def deface(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the copies go.")],
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Headers too, by [deidentification].")
    ] = False,
    nifti_modality: NiftiModality = None,
    config: Config = None,
) -> None:
    """Remove the face from DICOM series and NIfTI files; what is proven lies in OUT/defaced, the
    rest in OUT/held.

    Without --deidentify headers go on naming the patient. Exit code 0 where every series is
    proven, else 1.
    """
    from dicomnode.app.deface import Defacer, deface_all

    settings = quiet_settings(config)
    finish = _deidentifier(settings) if deidentify else _leave
    with batch_run(paths, settings, out_folder, "deface.jsonl") as run:
        defacer = Defacer(
            networks=run.networks,
            settings=settings,
            out=out_folder,
            finish=finish,
            without_words=deidentify,
            nifti_modality=nifti_modality or "",
            progress=run.stage,
        )
        tally = deface_all(run.found, defacer, run.report)
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
