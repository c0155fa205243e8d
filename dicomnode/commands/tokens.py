"""`tokens`: what programs show to the HTTP door of the gate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from dicomnode.app import account_tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    err,
    existing_database,
    quiet_settings,
    require_own_data_folder,
    say,
    show,
)
from dicomnode.domain import Role
from dicomnode.errors import AccountError

app = typer.Typer(no_args_is_help=True, help="Tokens for programs that ask the gate over HTTP.")
Account = Annotated[str, typer.Argument(help="The account for which it acts.")]


@app.command()
def add(
    account: Account,
    name: Annotated[str, typer.Option("--name", help="What uses it, for people.")],
    role: Annotated[Role, typer.Option("--role", help="At most the account's.")] = Role.VIEWER,
    days: Annotated[int | None, typer.Option(min=1, help="Ends by itself after so many.")] = None,
    config: Config = None,
) -> None:
    """A new token, printed once: the database keeps only its SHA-256."""
    from dicomnode.tracking import accounts, api_tokens

    settings = quiet_settings(config)
    require_own_data_folder(settings)
    now = datetime.now(UTC)
    expires_at = None if days is None else now + timedelta(days=days)
    with existing_database(settings).begin() as connection:
        owner = accounts.by_name(connection, account)
        if owner is None:
            raise AccountError(f"{account}: there is no such account (dicomnode accounts list)")
        made, token = api_tokens.create(
            connection, owner, name, role, expires_at=expires_at, now=now
        )
    err.print(account_tables.tokens((made,), now))
    say(token)


@app.command("list")
def list_tokens(
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Every token, also those that ended; never the token itself."""
    from dicomnode.tracking import api_tokens

    with existing_database(quiet_settings(config)).read() as connection:
        found = api_tokens.every(connection, account)
    show(account_tables.tokens(found, datetime.now(UTC)), found, json_)


@app.command()
def revoke(
    number: Annotated[int, typer.Argument(help="Its number, as `tokens list` tells it.")],
    config: Config = None,
) -> None:
    """From now on it opens nothing."""
    from dicomnode.tracking import api_tokens

    settings = quiet_settings(config)
    require_own_data_folder(settings)
    with existing_database(settings).begin() as connection:
        revoked = api_tokens.revoke(connection, number)
    show(account_tables.tokens((revoked,), datetime.now(UTC)), revoked, False)
