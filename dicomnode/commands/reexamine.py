"""`reexamine`: what another version examined, again, when there is time."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from dicomnode.commands.common import AsJson, Config, existing_database, quiet_settings, show


def reexamine(
    study: Annotated[str, typer.Option(help="Only series of this Study Instance UID.")] = "",
    series: Annotated[str, typer.Option(help="Only this Series Instance UID.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="What is up to date too, not only the outdated.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Queue nothing; say how many it would be.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Queue at most so many.")] = None,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Examine again what other software, networks, rules or thresholds examined, after all new.

    Restart the worker with the new networks first. May be repeated: what is queued is not queued
    twice. `dicomnode jobs list` shows what waits; a failed examination is left to `jobs retry`.
    """
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.jobs.reexamine import Wish
    from dicomnode.jobs.reexamine import reexamine as requeue

    settings = quiet_settings(config)
    wanted = installed_examiner(settings).wanted_digest
    wish = Wish(study, series, everything, limit, dry_run)
    found = requeue(existing_database(settings), wanted, wish)
    queued = "would be queued" if dry_run else "queued at low priority"
    text = f"{found.queued} {queued}, {found.waiting} have a job already, {found.left} left"
    if found.removed:
        text += (
            f"; of {found.removed} retention removed files: send them again, and they are examined"
        )
    show(Text(text), found, json_)
