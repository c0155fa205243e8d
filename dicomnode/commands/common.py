"""What every command needs: the configuration, the database, consoles and a progress bar."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from dicomnode.app import logs
from dicomnode.config import Settings, load
from dicomnode.domain import as_json
from dicomnode.errors import ConfigurationError, DatabaseError
from dicomnode.meters import Meters
from dicomnode.reloading import Reload, Reloader
from dicomnode.tracking.database import Database

DEFAULT_CONFIG = Path("config.toml")

out = Console()
err = Console(stderr=True)


class Modality(StrEnum):
    CT = "CT"
    MR = "MR"


Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Default: ./config.toml, else the built-in values."),
]


def known_device(name: str | None) -> str | None:
    """A name of `inference.device`; whether there is such a GPU is found out later."""
    if name is not None and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise typer.BadParameter("auto, cpu, cuda or cuda:N")
    return name


Device = Annotated[
    str | None,
    typer.Option(
        callback=known_device,
        help="auto, cpu, cuda or cuda:N; by default the configured one.",
    ),
]
NiftiModality = Annotated[
    Modality | None,
    typer.Option(help="What files are of that aren't DICOM; else only networks for both look."),
]
Project = Annotated[
    str, typer.Option("--project", "-p", help="Whose policy: [projects.NAME]; default: [gate].")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


def settings_of(config: Path | None) -> Settings:
    """Read the configuration and begin to log; raises `ConfigurationError`.

    What a role writes from here on is closed to other accounts, as its systemd unit has it.
    """
    settings = _read(config)
    os.umask(0o077)
    logs.configure(settings.node.log_level, settings.node.log_format)
    return settings


def quiet_settings(config: Path | None) -> Settings:
    """For commands that a person reads: only warnings are logged, unless DEBUG is asked for."""
    settings = _read(config)
    level = "DEBUG" if settings.node.log_level == "DEBUG" else "WARNING"
    logs.configure(level, settings.node.log_format)
    return settings


def _read(config: Path | None) -> Settings:
    return load(_found(config))


def _found(config: Path | None) -> Path | None:
    return DEFAULT_CONFIG if config is None and DEFAULT_CONFIG.is_file() else config


def existing_database(settings: Settings) -> Database:
    """For questions: a wrong path must not look like a node that received nothing."""
    database = Database(settings.database_url)
    if not database.check().is_current:
        raise DatabaseError("the database has another schema version: dicomnode db migrate")
    return database


def require_own_data_folder(settings: Settings) -> None:
    """Raises `ConfigurationError` where the service could not read what this user would write."""
    folder = settings.node.data_folder
    if not folder.exists() or folder.stat().st_uid == os.geteuid():
        return
    try:
        owner = folder.owner()
    except KeyError:  # an account of another machine, or of a container
        owner = f"#{folder.stat().st_uid}"
    raise ConfigurationError(
        f"node.data_folder: {folder} belongs to {owner}: run this as that account, "
        f"sudo -u {owner} {this_program()} ..."
    )


def show(table: object, value: object, as_document: bool) -> None:
    """The table for people, or the value as one JSON document; plain text is never folded."""
    if as_document:
        print(json.dumps(as_json(value), indent=2))
    else:
        out.print(table, soft_wrap=isinstance(table, Text))


def say(text: str) -> None:
    """One plain line, never folded, so that it can be copied."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def this_program() -> str:
    """What to type to run this program again from here."""
    called = Path(sys.argv[0])
    if called.name != "dicomnode":
        return f"{shlex.quote(sys.executable)} -m dicomnode.cli"
    on_path = shutil.which("dicomnode")
    if on_path is not None and Path(on_path).resolve() == called.resolve():
        return "dicomnode"
    return shlex.quote(str(called))


def stop_on_signals() -> threading.Event:
    """Set by Ctrl+C and SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def reload_on_signal(config: Path | None, settings: Settings, meters: Meters) -> Reload:
    """From now on SIGHUP asks a role to read its configuration again."""
    reloader = Reloader(_found(config), settings, meters)
    reloader.listen()
    return reloader.poll


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """On standard error, so that standard output can be read by a program."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err) as bar:
        yield bar


@contextmanager
def transfer_bar() -> Iterator[Progress]:
    """As `progress_bar`, counting bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err) as bar:
        yield bar
