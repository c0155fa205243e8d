"""`train` and `evaluate`: the networks from heads to figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.commands.common import (
    Config,
    Device,
    known_device,
    progress_bar,
    quiet_settings,
    say,
)

if TYPE_CHECKING:
    from dicomnode.training.find import Skipped

app = typer.Typer(no_args_is_help=True, help="Train the starter networks, or your own.")

Folder = Annotated[Path, typer.Argument(file_okay=False, help="The training set's folder.")]
TrainingDevice = Annotated[str, typer.Option(callback=known_device, help="cpu, cuda or cuda:N.")]
Seed = Annotated[int, typer.Option(help="The same seed and settings give the same result.")]


@app.command()
def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(exists=True, help="Folders of intact heads, DICOM or NIfTI."),
    ],
    folder: Annotated[Path, typer.Option("--out", help="The training set's folder.")],
    drawn_heads: Annotated[int, typer.Option(min=0, help="Heads to draw.")] = 120,
    drawn_bodies: Annotated[int, typer.Option(min=0, help="Trunks to draw.")] = 32,
    cases: Annotated[int, typer.Option(min=0, help="Cases to judge by, for each person.")] = 42,
    seed: Seed = 1,
    template: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of avg152T1 and its masks, if not in a source.",
        ),
    ] = None,
) -> None:
    """Make a training set: real scans with reference masks, and drawn anatomy beside them.

    A folder below a source is a person. docs/models.md: "Train on your own heads".
    """
    from dicomnode.training.prepare import prepare as make

    with _steps() as progress:
        skipped = make(
            sources,
            folder,
            seed=seed,
            drawn_heads=drawn_heads,
            drawn_bodies=drawn_bodies,
            cases_per_person=cases,
            progress=progress,
            template=template,
        )
    for reason, files in _by_reason(skipped).items():
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        say(f"not used: {files[0]}{others}: {reason}")


def _by_reason(skipped: Sequence[Skipped]) -> dict[str, list[str]]:
    """A data set has hundreds of files that are no images: a line for all of them will do."""
    files: dict[str, list[str]] = {}
    for one in skipped:
        files.setdefault(one.reason, []).append(one.file)
    return files


@app.command()
def run(
    folder: Folder,
    fold: Annotated[str, typer.Option(help="all, or the number of a fold.")] = "all",
    epochs: Annotated[int, typer.Option(min=1)] = 60,
    iterations: Annotated[int, typer.Option(min=1, help="Batches an epoch.")] = 100,
    uses: Annotated[
        int, typer.Option(min=1, help="How often each drawn volume is learned from; 4 on a GPU.")
    ] = 1,
    device: TrainingDevice = "cpu",
    seed: Seed = 1,
) -> None:
    """Train one fold with nnU-Net's own trainer; run it again to go on after an interruption."""
    from dicomnode.training.run import Schedule
    from dicomnode.training.run import run as train

    schedule = Schedule(epochs, iterations, uses)
    with _steps() as progress:
        trained = train(
            folder, fold=fold, schedule=schedule, device=device, seed=seed, progress=progress
        )
    say(str(trained))


@app.command()
def export(
    folder: Folder,
    models: Annotated[Path, typer.Option("--out", help="The models folder to write.")],
    fold: Annotated[str, typer.Option(help="all, or the number of a fold.")] = "all",
    about: Annotated[
        Path | None,
        typer.Option(exists=True, help="For the cards: JSON with name, version, licence..."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(exists=True, help="For the cards: summary.json of evaluate.")
    ] = None,
) -> None:
    """Write the three networks as ordinary nnU-Net folders, with cards and manifest.

    Folders of the same names in --out are replaced.
    """
    from dicomnode.inference.models import pin
    from dicomnode.training.card import read_about, read_object
    from dicomnode.training.export import export as write
    from dicomnode.training.run import training_folder

    written = write(
        training_folder(folder),
        models,
        fold=fold,
        about=read_about(about) if about else None,
        figures=read_object(figures) if figures else None,
    )
    for path in written:
        say(str(path))
    pin(models)


def evaluate(
    models: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Models folder.")],
    cases: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="Cases: docs/evaluation.md."),
    ],
    results: Annotated[Path, typer.Option("--out", help="Where CSV, JSON and PNG go.")],
    person: Annotated[
        list[str] | None, typer.Option(help="Only cases of this person; may be repeated.")
    ] = None,
    device: Device = None,
    config: Config = None,
) -> None:
    """Judge networks on whole scans: Dice, HD95, surface Dice, millilitres, verdicts.

    The networks run and judge as the configuration says. Run it again to go on after an
    interruption: what the same networks judged is kept.
    """
    from dicomnode.training.evaluate import evaluate as judge
    from dicomnode.training.evaluation_text import evaluation_text

    settings = quiet_settings(config)
    if device is not None:
        inference = settings.inference.model_copy(update={"device": device})
        settings = settings.model_copy(update={"inference": inference})
    with _steps() as progress:
        done = judge(models, cases, results, settings=settings, persons=person, progress=progress)
    for line in evaluation_text(done):
        say(line)
    say(f"scores.csv, summary.json and dice.png are in {results}")
    if done.failed:
        raise typer.Exit(1)


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    with progress_bar() as bar:
        task = bar.add_task("")

        def progress(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield progress
