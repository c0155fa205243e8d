"""`models`: the networks, pinned by SHA-256."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicomnode.app import model_tables
from dicomnode.commands.common import AsJson, Config, quiet_settings, say, settings_of, show
from dicomnode.commands.models_install import install
from dicomnode.errors import ModelError

app = typer.Typer(no_args_is_help=True, help="The networks, pinned by SHA-256.")
app.command()(install)


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


@app.command("verify")
def models_verify(config: Config = None) -> None:
    """Compare every model file with the SHA-256 that the manifest pins."""
    from dicomnode.inference.models import load_manifest, models_folder, verify

    models = load_manifest(models_folder(settings_of(config).inference.models_folder))
    wrong = 0
    for model in models:
        try:
            verify(model)
        except (ModelError, OSError) as error:
            wrong += 1
            say(str(error))
        else:
            say(f"{model.identity.name}: as pinned, {model.identity.sha256}")
    if wrong:
        raise ModelError(f"{wrong} of {len(models)} networks are not as pinned")


@app.command("pin")
def models_pin(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)]) -> None:
    """Write manifest.json for the networks in a folder, each with its card.json."""
    from dicomnode.inference.models import pin

    for model in pin(folder):
        say(f"{model.identity.name}: pinned, {model.identity.sha256}")
