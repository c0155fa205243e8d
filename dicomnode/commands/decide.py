"""`decide`: what a person says of a series."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dicomnode.app import gate_tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    existing_database,
    quiet_settings,
    require_own_data_folder,
    show,
)
from dicomnode.errors import DecisionError


class Answer(StrEnum):
    DEFACED = "defaced"
    NOT_DEFACED = "not-defaced"
    NOT_APPLICABLE = "not-applicable"


def decide(
    series_uid: Annotated[str, typer.Argument(help="Series Instance UID.")],
    answer: Annotated[Answer | None, typer.Argument(help="What you saw.")] = None,
    by: Annotated[
        str, typer.Option("--by", help="Your account: a reviewer or more, once there are accounts.")
    ] = "",
    note: Annotated[str, typer.Option(help="Why, in a line; no patient's name.")] = "",
    examination: Annotated[
        int | None,
        typer.Option(help="The one you looked at (decide --list); refused if another counts now."),
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take back what you said.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Everything that was said.")] = False,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Decide on a series as it was examined last: the gate counts it as the policy says."""
    from dicomnode.tracking import decisions
    from dicomnode.tracking.decisions import DecisionKind

    if sum((answer is not None, revoke, list_)) != 1:
        raise DecisionError("say one of: defaced, not-defaced, not-applicable, --revoke, --list")
    settings = quiet_settings(config)
    if list_:
        with existing_database(settings).read() as connection:
            found = decisions.history(connection, series_uid)
            now = decisions.examination_now(connection, series_uid)
        show(gate_tables.decisions(found, now), found, json_)
        return
    require_own_data_folder(settings)
    kind = DecisionKind(answer.replace("-", "_")) if answer else DecisionKind.REVOKED
    with existing_database(settings).begin() as connection:
        made = decisions.record(
            connection, series_uid, kind, account=by, note=note, seen_examination_id=examination
        )
    show(gate_tables.decisions((made,), made.examination_id), made, json_)
