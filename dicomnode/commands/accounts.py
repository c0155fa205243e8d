"""`accounts`: who may use the review desk and the HTTP door of the gate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dicomnode.app import account_tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    existing_database,
    quiet_settings,
    require_own_data_folder,
    show,
)
from dicomnode.config import Settings
from dicomnode.domain import Role
from dicomnode.errors import AccountError
from dicomnode.tracking import accounts
from dicomnode.tracking.database import Database

app = typer.Typer(
    no_args_is_help=True, help="Who may use the review desk and the HTTP door of the gate."
)
Name = Annotated[str, typer.Argument(help="The account: small letters, digits and . _ @ -")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Its first line is the password; default: asked for.")
]
GivenRole = Annotated[Role, typer.Option("--role", help="What the account may do.")]


@app.command()
def add(
    name: Name,
    role: GivenRole,
    password_file: PasswordFile = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Only tokens act for it; nobody logs in.")
    ] = False,
    config: Config = None,
) -> None:
    """A new account. Its password has at least 12 characters.

    It may be the first thing that is done with a new node: the database is made then.
    """
    from dicomnode.tracking.passwords import hashed

    settings = quiet_settings(config)
    require_own_data_folder(settings)
    database = _made_database(settings)
    password_hash = "" if no_password else hashed(_password(password_file))
    with database.begin() as connection:
        made = accounts.create(connection, name, role, password_hash=password_hash)
    show(account_tables.accounts((made,)), made, False)


@app.command("list")
def list_accounts(json_: AsJson = False, config: Config = None) -> None:
    """Every account, disabled ones too."""
    with existing_database(quiet_settings(config)).read() as connection:
        found = accounts.every(connection)
    show(account_tables.accounts(found), found, json_)


@app.command()
def role(name: Name, role: Annotated[Role, typer.Argument()], config: Config = None) -> None:
    """Another role; who is logged in has to log in again."""
    _change(config, lambda connection: accounts.set_role(connection, name, role))


@app.command()
def password(name: Name, password_file: PasswordFile = None, config: Config = None) -> None:
    """A new password, which also ends the pause after wrong ones."""
    from dicomnode.tracking.passwords import hashed

    new_hash = hashed(_password(password_file))
    _change(config, lambda connection: accounts.set_password(connection, name, new_hash))


@app.command()
def disable(name: Name, config: Config = None) -> None:
    """Nobody logs in, no token acts for it; its records stay."""
    _change(config, lambda connection: accounts.set_enabled(connection, name, False))


@app.command()
def enable(name: Name, config: Config = None) -> None:
    """As it was before it was disabled."""
    _change(config, lambda connection: accounts.set_enabled(connection, name, True))


def _change(config: Path | None, change: Callable[..., accounts.Account]) -> None:
    with _writable_database(config).begin() as connection:
        changed = change(connection)
    show(account_tables.accounts((changed,)), changed, False)


def _writable_database(config: Path | None) -> Database:
    settings = quiet_settings(config)
    require_own_data_folder(settings)
    return existing_database(settings)


def _made_database(settings: Settings) -> Database:
    """Made where there is none; one of another version is left to whoever starts the node."""
    database = Database(settings.database_url)
    if not database.is_made():
        database.migrate()
    return existing_database(settings)


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    if not sys.stdin.isatty():
        raise AccountError("there is no terminal to ask for a password: give --password-file")
    given: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return given
