"""`deface`: the face removed from images, and the proof that it is gone; how well, as figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.commands.batches import batch_run
from dicomnode.commands.common import (
    AsJson,
    Config,
    NiftiModality,
    Project,
    err,
    quiet_settings,
    say,
)
from dicomnode.config import Settings
from dicomnode.config_policy import DEFAULT_PROJECT

if TYPE_CHECKING:
    from dicomnode.app.batch import Line
    from dicomnode.app.deface import DefacingTally
    from dicomnode.dicom.derived import Headers


def deface(
    what: Annotated[
        list[str], typer.Argument(help="Folders or files; or Study Instance UIDs of the node.")
    ],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where the copies of folders and files go.")
    ] = None,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Folders: headers too, as the project has it.")
    ] = False,
    project: Project = DEFAULT_PROJECT,
    nifti_modality: NiftiModality = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Studies: until the copies are here and were examined.")
    ] = False,
    by: Annotated[
        str, typer.Option("--by", help="Studies: your account, a steward; default: your login.")
    ] = "",
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Remove the face from DICOM series and NIfTI files; or from studies that the node holds.

    Of folders and files, what is proven lies in OUT/defaced, the rest in OUT/held. Without
    --deidentify headers go on naming the patient. Exit code 0 where every series is proven, else 1.

    Of a study the node makes a copy under another Study Instance UID, examines it, and its gate
    decides for it; the original stays held. Where the project has deidentify = true the copy names
    nobody, and leaves for that project alone. Exit code 0 where it was asked for; with --wait where
    every proof was given, else 1.
    """
    settings = quiet_settings(config)
    if out_folder is None:
        from dicomnode.commands.deface_studies import deface_studies

        deface_studies(what, settings, project, by=by, wait=wait, as_json=json_)
        return
    paths = list(map(_existing, what))
    names_of = project if deidentify else ""
    tally, _ = _run(paths, out_folder, settings, nifti_modality, names_of)
    _say(tally, f"deface.jsonl is in {out_folder}")
    if not tally.complete:
        raise typer.Exit(1)


def _existing(given: str) -> Path:
    path = Path(given)
    if not path.exists():
        raise typer.BadParameter(f"{given}: no such file or folder (without --out: a study)")
    return path


def evaluate_deface(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where copies, CSV and PNG go.")],
    nifti_modality: NiftiModality = None,
    config: Config = None,
) -> None:
    """How well faces are removed from these scans: a table, its summary and a picture.

    Each case: what the networks and the face detector see before and after, how far the skin is
    from where it was, and what else changed. Exit code 0 where every series is proven, else 1.
    """
    from dicomnode.app.deface_evaluation import cases_of, write_evaluation

    tally, lines = _run(paths, out_folder, quiet_settings(config), nifti_modality)
    for name, value in write_evaluation(cases_of(lines), tally.failed, out_folder).items():
        say(f"{name}: {value}")
    _say(tally, f"deface.csv, deface-summary.json and deface.png are in {out_folder}")
    if not tally.complete:
        raise typer.Exit(1)


def _run(
    paths: list[Path],
    out_folder: Path,
    settings: Settings,
    nifti_modality: str | None,
    names_of: str = "",
) -> tuple[DefacingTally, list[Line]]:
    """`names_of` is the project by whose settings headers are de-identified; empty: they stay."""
    from dicomnode.app.deface import Defacer, deface_all

    headers = _headers(settings, names_of)
    every: list[Line] = []
    with batch_run(paths, settings, out_folder, "deface.jsonl") as run:
        defacer = Defacer(
            networks=run.networks,
            settings=settings,
            out=out_folder,
            headers=headers,
            without_words=bool(names_of),
            nifti_modality=nifti_modality or "",
            progress=run.stage,
        )

        def report(lines: list[Line]) -> None:
            every.extend(lines)
            run.report(lines)

        tally = deface_all(run.found, defacer, report)
    return tally, every


def _say(tally: DefacingTally, where: str) -> None:
    err.print(
        f"{tally.defaced} defaced and proven, {tally.held} held, {tally.failed} failed; {where}",
        highlight=False,
    )


def _headers(settings: Settings, names_of: str) -> Headers:
    from dicomnode.dicom.deidentification import deidentifier_of
    from dicomnode.dicom.derived import AS_THEY_CAME, Headers

    if not names_of:
        return AS_THEY_CAME
    deidentifier = deidentifier_of(settings, names_of)
    return Headers(deidentifier.apply, deidentifier.identity)
