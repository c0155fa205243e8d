"""The command line: which commands there are, and what an error costs.

Start reading here; each command wires the parts together in `dicomnode.commands`. Exit codes:
0 done, 1 something could not be done, 2 refused to start; `gate decide` has its own.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NoReturn

import typer
from rich.markup import escape
from typer.core import TyperGroup

from dicomnode.commands.common import err
from dicomnode.errors import ConfigurationError, DicomnodeError, ModelError, PortInUseError

REFUSED_TO_START = 2

# Name, and where its function or its group is. Only what is called is imported: each has its own
# libraries, and a receiver or an answer of the gate should not wait for those of the others.
_COMMANDS = {
    "serve": "node:serve",
    "scp": "node:scp",
    "web": "node:web",
    "work": "node:work",
    "demo": "node:demo",
    "examine": "examine:examine",
    "deface": "deface:deface",
    "explain": "explain:explain",
    "pull": "pull:pull",
    "reexamine": "reexamine:reexamine",
    "status": "ask:status",
    "decide": "decide:decide",
    "forget": "forget:forget",
    "export": "export:export",
    "check": "ask:check",
    "notify": "notify:notify",
    "masks": "masks:masks",
    "gate": "gate:app",
    "exports": "export:app",
    "accounts": "accounts:app",
    "tokens": "tokens:app",
    "audit": "audit:app",
    "jobs": "jobs:app",
    "quarantine": "quarantine:app",
    "models": "models:app",
    "train": "train:app",
    "evaluate": "evaluate:app",
    "db": "database:app",
}


class _Commands(TyperGroup):
    """Commands that are imported when they are called, or listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"dicomnode.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = cmd_name
            return group
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(cmd_name)(found)
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def dicomnode() -> None:
    """A DICOM node that says which studies are truly defaced."""


def main() -> None:
    """The entry point: every foreseen error becomes one clear message and an exit code."""
    try:
        app()
    except (ConfigurationError, PortInUseError, ModelError) as error:
        _fail(error, REFUSED_TO_START)
    except DicomnodeError as error:
        _fail(error, 1)
    except OSError as error:
        if error.filename is None:
            raise  # not about a file of the user's: whoever mends it needs all of it
        _fail(f"{error.filename}: {error.strerror}", 1)


def _fail(error: DicomnodeError | str, code: int) -> NoReturn:
    err.print(f"[bold red]dicomnode:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
