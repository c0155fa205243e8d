"""`evaluate`: networks, or defacing, in figures."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from dicomnode.commands import deface, train


class _NetworksFirst(TyperGroup):
    """What names no command is about networks: `evaluate MODELS CASES --out RESULTS`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = bool(args) and args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["networks", *args])


app = typer.Typer(
    cls=_NetworksFirst,
    no_args_is_help=True,
    # Options may stand first: they are those of the command.
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    help="Judge networks (`evaluate MODELS CASES --out RESULTS`), or defacing, in figures.",
)
app.command("networks")(train.evaluate)
app.command("deface")(deface.evaluate_deface)
