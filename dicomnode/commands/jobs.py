"""`jobs`: what waits, runs and failed."""

from __future__ import annotations

from typing import Annotated

import typer

from dicomnode.app import tables
from dicomnode.commands.common import AsJson, Config, existing_database, quiet_settings, say, show

app = typer.Typer(no_args_is_help=True, help="What waits, runs and failed.")


@app.command("list")
def jobs_list(
    everything: Annotated[bool, typer.Option("--all", help="The done ones too.")] = False,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Every job that waits, runs or failed."""
    from dicomnode.jobs.engine import list_jobs

    database = existing_database(quiet_settings(config))
    found = list_jobs(database, everything=everything)
    show(tables.jobs(found), found, json_)


@app.command("retry")
def jobs_retry(job: str, config: Config = None) -> None:
    """Run a failed job again."""
    from dicomnode.jobs.engine import retry

    settings = quiet_settings(config)
    retry(existing_database(settings), job)
    say(f"{job} is queued again")


@app.command("cancel")
def jobs_cancel(job: str, config: Config = None) -> None:
    """Stop a job that waits; a step that runs is finished first."""
    from dicomnode.jobs.engine import cancel

    cancel(existing_database(quiet_settings(config)), job)
    say(f"{job} is cancelled")
