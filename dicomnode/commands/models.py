"""`models`: the networks, pinned by SHA-256."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicomnode.app import tables
from dicomnode.commands.common import AsJson, Config, quiet_settings, say, settings_of, show

app = typer.Typer(no_args_is_help=True, help="The networks, pinned by SHA-256.")


@app.command("list")
def models_list(json_: AsJson = False, config: Config = None) -> None:
    """The networks that the manifest pins."""
    from dicomnode.inference.models import load_manifest, models_folder

    models = load_manifest(models_folder(quiet_settings(config).inference.models_folder))
    show(tables.models(models), models, json_)


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
