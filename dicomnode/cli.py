"""The command line: which commands there are, and what an error costs.

Start reading here; each command wires the parts together in `dicomnode.commands`. Exit codes:
0 done, 1 something could not be done, 2 refused to start; `gate decide` has its own.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich.markup import escape

from dicomnode.commands import (
    accounts,
    ask,
    audit,
    database,
    decide,
    deface,
    evaluate,
    examine,
    explain,
    export,
    forget,
    gate,
    jobs,
    masks,
    models,
    node,
    notify,
    pull,
    quarantine,
    reexamine,
    tokens,
    train,
)
from dicomnode.commands.common import err
from dicomnode.errors import ConfigurationError, DicomnodeError, ModelError, PortInUseError

REFUSED_TO_START = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A DICOM node that says which studies are truly defaced.",
)
for command in (
    node.serve,
    node.scp,
    node.web,
    node.work,
    node.demo,
    examine.examine,
    deface.deface,
    explain.explain,
    pull.pull,
    reexamine.reexamine,
    ask.status,
    decide.decide,
    forget.forget,
    export.export,
    ask.check,
    notify.notify,
    masks.masks,
):
    app.command()(command)
for name, group in (
    ("gate", gate),
    ("exports", export),
    ("accounts", accounts),
    ("tokens", tokens),
    ("audit", audit),
    ("jobs", jobs),
    ("quarantine", quarantine),
    ("models", models),
    ("train", train),
    ("evaluate", evaluate),
    ("db", database),
):
    app.add_typer(group.app, name=name)


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
