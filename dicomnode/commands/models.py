"""`models`: the networks, pinned by SHA-256; installing others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.app import model_tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    quiet_settings,
    say,
    settings_of,
    show,
    transfer_bar,
)
from dicomnode.config import Settings
from dicomnode.domain import SegmentKind
from dicomnode.errors import ModelError

if TYPE_CHECKING:
    from dicomnode.inference.install import Installed
    from dicomnode.inference.layout import CheckpointKind

app = typer.Typer(no_args_is_help=True, help="The networks, pinned by SHA-256.")


@app.command("list")
def models_list(json_: AsJson = False, config: Config = None) -> None:
    """The networks that the manifest pins."""
    from dicomnode.inference.models import load_manifest, models_folder

    models = load_manifest(models_folder(quiet_settings(config).inference.models_folder))
    show(model_tables.models(models), models, json_)


@app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(help="A network's name, or its kind.")],
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """A network's card: training data, licence, figures, known failures, limits."""
    from dicomnode.inference.models import load_manifest, models_folder

    models = load_manifest(models_folder(quiet_settings(config).inference.models_folder))
    wanted = name.lower()
    found = [m for m in models if wanted in (m.identity.name.lower(), m.identity.kind.value)]
    if not found:
        names = ", ".join(model.identity.name for model in models)
        raise ModelError(f"no network is called {name}; there are: {names}")
    show(model_tables.cards(found), found if len(found) > 1 else found[0], json_)


@app.command("catalogue")
def models_catalogue(json_: AsJson = False) -> None:
    """Networks that others released, with what is known of them."""
    from dicomnode.inference.catalogue import RELEASES

    show(model_tables.releases(RELEASES), RELEASES, json_)


@app.command("install")
def models_install(
    source: Annotated[str, typer.Argument(help="A zip, a folder, an address, or a known name.")],
    into: Annotated[
        Path | None, typer.Option(help="The models folder. Default: inference.models_folder.")
    ] = None,
    kind: Annotated[SegmentKind | None, typer.Option(help="What the network segments.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this one: DatasetNNN_name.")] = None,
    configuration: Annotated[
        str | None, typer.Option(help="Of several: trainer__plans__configuration, or its end.")
    ] = None,
    folds: Annotated[str, typer.Option(help="all, or numbers: 0,1,2")] = "",
    checkpoint: Annotated[
        str | None, typer.Option(help="final or best. Default: final where there is one.")
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Labels that are the segment: 1,2 or names. Default: all.")
    ] = "",
    trainer: Annotated[
        str | None, typer.Option(help="Build the network as this trainer does.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Recorded in the manifest.")] = None,
    sha256: Annotated[str | None, typer.Option(help="The archive's; another is refused.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of the network of this kind.")
    ] = False,
    beside: Annotated[
        bool, typer.Option("--beside", help="Beside the networks of this kind; all stay.")
    ] = False,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Install trained nnU-Nets: checked, pinned, all or nothing."""
    from dicomnode.inference.install import install
    from dicomnode.inference.plan import Wishes

    settings = quiet_settings(config)
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
    folder = _target(into, settings)
    with _steps() as progress:
        installed = install(source, folder, wishes, progress)
    if not json_:
        _tell(installed, folder, settings)
    else:
        show(None, installed, json_)


@app.command("verify")
def models_verify(config: Config = None) -> None:
    """Compare every model file with the SHA-256 that the manifest pins."""
    from dicomnode.inference.models import load_manifest, models_folder, verify

    for model in load_manifest(models_folder(settings_of(config).inference.models_folder)):
        verify(model)
        say(f"{model.identity.name}: as pinned, {model.identity.sha256}")


@app.command("pin")
def models_pin(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)]) -> None:
    """Write manifest.json for the networks in a folder, each with its card.json."""
    from dicomnode.inference.models import pin

    for model in pin(folder):
        say(f"{model.identity.name}: pinned, {model.identity.sha256}")


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
    return folder


def _tell(installed: Installed, folder: Path, settings: Settings) -> None:
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
    configured = settings.inference.models_folder
    if configured is None or configured.resolve() != folder.resolve():
        say(f'To use them, set in the configuration: [inference] models_folder = "{folder}"')
    say("A node that runs has the networks of its start: restart its worker to use these.")


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int | None], None]]:
    with transfer_bar() as bar:
        tasks = {}

        def progress(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield progress
