"""`models install`: trained networks from elsewhere, into the site's own models folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.commands.common import (
    AsJson,
    Config,
    err,
    quiet_settings,
    say,
    show,
    transfer_bar,
)
from dicomnode.config import Settings
from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError

if TYPE_CHECKING:
    from dicomnode.inference.install import Installed
    from dicomnode.inference.layout import CheckpointKind

Source = Annotated[str, typer.Argument(help="A zip, a folder, an address, or a known name.")]
Into = Annotated[
    Path | None, typer.Option(help="The models folder. Default: inference.models_folder.")
]
Kind = Annotated[SegmentKind | None, typer.Option(help="What the network segments.")]
Dataset = Annotated[str | None, typer.Option(help="Only this one: DatasetNNN_name.")]
Configuration = Annotated[
    str | None, typer.Option(help="Of several: trainer__plans__configuration, or its end.")
]
Folds = Annotated[str, typer.Option(help="all, or numbers: 0,1,2")]
Checkpoint = Annotated[
    str | None, typer.Option(help="final or best. Default: final where there is one.")
]
Labels = Annotated[
    str, typer.Option(help="Labels that are the segment: 1,2 or names. Default: all.")
]
Trainer = Annotated[str | None, typer.Option(help="Build the network as this trainer does.")]
Licence = Annotated[str | None, typer.Option(help="Recorded in the manifest.")]
Sha256 = Annotated[str | None, typer.Option(help="The archive's; another is refused.")]
Replace = Annotated[bool, typer.Option("--replace", help="In place of the network of this kind.")]
Beside = Annotated[
    bool, typer.Option("--beside", help="Beside the networks of this kind; all stay.")
]


def install(
    source: Source,
    into: Into = None,
    kind: Kind = None,
    dataset: Dataset = None,
    configuration: Configuration = None,
    folds: Folds = "",
    checkpoint: Checkpoint = None,
    labels: Labels = "",
    trainer: Trainer = None,
    licence: Licence = None,
    sha256: Sha256 = None,
    replace: Replace = False,
    beside: Beside = False,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Install trained nnU-Nets: checked, pinned, all or nothing."""
    from dicomnode.inference.install import install as put_in
    from dicomnode.inference.plan import Wishes

    settings = quiet_settings(config)
    folder = _target(into, settings)
    wishes = Wishes(
        kind=kind,
        dataset=dataset,
        configuration=configuration,
        folds=_items(folds.replace("fold_", "")),
        checkpoint=_checkpoint(checkpoint),
        labels=_items(labels),
        trainer=trainer,
        licence=licence,
        sha256=sha256,
        replace=replace,
        beside=beside,
    )
    with _steps() as progress:
        installed = put_in(source, folder, wishes, progress)
    if json_:
        show(None, installed, json_)
    else:
        _tell(installed)
    _tell_what_is_left(folder, settings)


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _checkpoint(text: str | None) -> CheckpointKind | None:
    """`best`, or the file's name, as nnU-Net's own commands take it."""
    kinds: dict[str | None, CheckpointKind | None] = {None: None, "final": "final", "best": "best"}
    name = text.removeprefix("checkpoint_").removesuffix(".pth") if text is not None else None
    if name not in kinds:
        raise ModelError(f"--checkpoint {text}: final or best")
    return kinds[name]


def _target(into: Path | None, settings: Settings) -> Path:
    folder = into if into is not None else settings.inference.models_folder
    if folder is None:
        raise ModelError(
            "no models folder of your own: name one with --into FOLDER, or set "
            "inference.models_folder in the configuration"
        )
    return folder.resolve()


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int | None], None]]:
    with transfer_bar() as bar:
        tasks = {}

        def progress(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield progress


def _tell(installed: Installed) -> None:
    for model in installed.models:
        who = model.identity
        say(f"{who.name}: installed as {who.kind.value}, SHA-256 {who.sha256}")
        say(f"  licence: {model.licence}")
    for remark in installed.remarks:
        say(f"  {remark}")
    for name in installed.replaced:
        say(f"{name}: replaced")
    for model in installed.stand_ins:
        who = model.identity
        say(f"{who.name}: the starter network stands in for {who.kind.value}, which has no other")


def _tell_what_is_left(folder: Path, settings: Settings) -> None:
    """What the user has to do before the node examines with these; on standard error."""
    from dicomnode.inference.models import load_manifest
    from dicomnode.inference.selection import check, example_rules

    configured, use = settings.inference.models_folder, settings.inference.use
    if configured is None or configured.resolve() != folder:
        _urge(f'To use them, set in the configuration: [inference] models_folder = "{folder}"')
    models = load_manifest(folder)
    try:
        check(models, use)
    except ModelError as error:
        _urge(
            f"A node with this folder refuses to start: {error}.\n"
            "Say it in the configuration, in place of other rules for the same kind. For example "
            f"(docs/networks.md; the first rule that holds counts):\n\n{example_rules(models, use)}"
        )
    else:
        _urge("A node that runs has the networks of its start: restart its worker to use these.")


def _urge(text: str) -> None:
    err.print(text, highlight=False, markup=False, soft_wrap=True)
