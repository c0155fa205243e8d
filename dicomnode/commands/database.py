"""`db`: the tracking database."""

from __future__ import annotations

import getpass
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from dicomnode.commands.common import (
    Config,
    quiet_settings,
    require_own_data_folder,
    say,
    settings_of,
)
from dicomnode.tracking.database import Database

app = typer.Typer(no_args_is_help=True, help="The tracking database.")


@app.command("migrate")
def db_migrate(config: Config = None) -> None:
    """Create the tables, or bring them to this version."""
    Database(settings_of(config).database_url).migrate()


@app.command("rebuild")
def db_rebuild(config: Config = None) -> None:
    """Make the rows that are missing for objects in the spool."""
    from dicomnode.dicom.file_format import read_claims, read_received
    from dicomnode.tracking.rebuild import Readers, reconcile
    from dicomnode.tracking.spool import Spool

    settings = settings_of(config)
    database = Database(settings.database_url)
    database.migrate()
    read = Readers(read_received, read_claims)
    added = reconcile(database, Spool(settings.spool_folder), read)
    say(f"{added} rows made from the spool")


@app.command("backup")
def db_backup(
    file: Annotated[Path, typer.Argument(help="A new file, readable by you alone.")],
    config: Config = None,
) -> None:
    """Copy the database while the node runs. What else has to be kept: docs/backups.md."""
    from dicomnode.tracking.backup import back_up

    with closing(Database(quiet_settings(config).database_url)) as found:
        back_up(found, file)
    say(f"{file}: {file.stat().st_size} bytes")


@app.command("restore")
def db_restore(
    file: Annotated[Path, typer.Argument(help="What `db backup` made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where the database holds something.")
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Your account; default: your login.")] = "",
    config: Config = None,
) -> None:
    """Make the database what it was when it was backed up. Stop every role of the node before."""
    from dicomnode.tracking.account_names import account_name
    from dicomnode.tracking.backup import restore

    settings = quiet_settings(config)
    require_own_data_folder(settings)
    account = account_name(by or getpass.getuser())
    with closing(Database(settings.database_url)) as found:
        restore(found, file, replace=replace, account=account)
    say(f"restored from {file}; the receiver adds the rows of what came since, when it starts")
