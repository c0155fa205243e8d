"""`audit`: what happened, and whether its record is still what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.app import gate_tables
from dicomnode.commands.common import AsJson, Config, existing_database, quiet_settings, show

if TYPE_CHECKING:
    from dicomnode.gate.receipt import Receipt

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
    show(gate_tables.audit(found), found, json_)


@app.command("verify")
def audit_verify(
    receipts: Annotated[
        list[Path] | None,
        typer.Option("--receipt", help="A receipt kept elsewhere; may be repeated."),
    ] = None,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Is any row edited, removed, inserted or moved? Exit code 1 if so; names the first.

    Receipts say how the log ended when they were issued: with one that was kept elsewhere a log
    that was written anew as a whole, up to then, is found out too.
    """
    from dicomnode.tracking.audit_chain import AuditHead, verify

    heads = [receipt.audit_head for receipt in map(_receipt, receipts or [])]
    witnesses = [AuditHead(head.row_count, head.sha256) for head in heads]
    with existing_database(quiet_settings(config)).read() as connection:
        found = verify(connection, witnesses)
    show(gate_tables.audit_check(found), found, json_)
    if found.fault:
        raise typer.Exit(1)


def _receipt(path: Path) -> Receipt:
    from dicomnode.gate.receipt import read

    return read(path.read_bytes(), str(path)).receipt
