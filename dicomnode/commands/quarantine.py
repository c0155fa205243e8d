"""`quarantine`: objects that were received and not accepted."""

from __future__ import annotations

from typing import Annotated

import typer

from dicomnode.app import tables
from dicomnode.commands.common import AsJson, Config, existing_database, quiet_settings, show

app = typer.Typer(
    no_args_is_help=True,
    help="Objects that were received and not accepted. They can only be listed yet: to accept or "
    "to discard one is not possible in this version.",
)


@app.command("list")
def quarantine_list(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 100,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Why each object is there, what it is, who sent it and when."""
    from dicomnode.tracking.quarantine import newest

    with existing_database(quiet_settings(config)).read() as connection:
        found = newest(connection, limit)
    show(tables.quarantine(found), found, json_)
