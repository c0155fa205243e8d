"""`db`: the tracking database."""

from __future__ import annotations

import typer

from dicomnode.commands.common import Config, say, settings_of
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
