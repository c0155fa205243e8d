"""`audit`: what happened, and whether its record is still what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from dicomnode.app import tables
from dicomnode.commands.common import AsJson, Config, existing_database, quiet_settings, show

app = typer.Typer(no_args_is_help=True, help="The audit log: append-only, each row hash-chained.")


@app.command("list")
def audit_list(
    event: Annotated[str | None, typer.Option(help="Only events of this name.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only of this UID or AE title.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 100,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """What happened, when, to what."""
    from dicomnode.tracking.audit import newest

    with existing_database(quiet_settings(config)).read() as connection:
        found = newest(connection, limit, event, subject)
    show(tables.audit(found), found, json_)


@app.command("verify")
def audit_verify(json_: AsJson = False, config: Config = None) -> None:
    """Is any row edited, removed, inserted or moved? Exit code 1 if so; names the first."""
    from dicomnode.tracking.audit_chain import verify

    with existing_database(quiet_settings(config)).read() as connection:
        found = verify(connection)
    show(tables.audit_check(found), found, json_)
    if found.fault:
        raise typer.Exit(1)
