"""`forget`: a study leaves the node."""

from __future__ import annotations

import getpass
from contextlib import closing
from typing import Annotated

import typer

from dicomnode.commands.common import (
    Config,
    err,
    existing_database,
    quiet_settings,
    require_own_data_folder,
    say,
)


def forget(
    study_uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    by: Annotated[str, typer.Option("--by", help="Your account; default: your login.")] = "",
    why: Annotated[str, typer.Option(help="Why, in a line; no patient's name.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    config: Config = None,
) -> None:
    """Remove a study's files, masks, pictures and rows; audit log, receipts and ledger stay.

    Sent again, it is a new study. What left the node before is not called back.
    """
    from dicomnode.jobs.forget import forget as forget_study
    from dicomnode.tracking.account_names import account_name

    settings = quiet_settings(config)
    require_own_data_folder(settings)
    account = account_name(by or getpass.getuser())
    if not yes:
        typer.confirm(f"Remove everything of study {study_uid}?", abort=True)
    with closing(existing_database(settings)) as database:
        known = forget_study(
            settings,
            database,
            study_uid,
            account=account,
            why=why,
            tell=lambda sentence: err.print(sentence, highlight=False),
        )
    say(
        f"{len(known.series)} series, {len(known.objects)} instances and {len(known.quarantined)} "
        "objects in quarantine are forgotten"
    )
