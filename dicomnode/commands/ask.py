"""`status`, `check`: questions to the node."""

from __future__ import annotations

from typing import Annotated

import typer

from dicomnode.app import tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    err,
    existing_database,
    out,
    quiet_settings,
    show,
)
from dicomnode.config import Settings
from dicomnode.domain import WantedDigest
from dicomnode.errors import DicomnodeError, ModelError


def status(
    uid: Annotated[str | None, typer.Argument(help="A Study or Series Instance UID.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many studies, the newest first.")] = 50,
    refusals: Annotated[
        bool, typer.Option("--refusals", help="Only how often each refusal code was recorded.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="What it is at now, on one screen, until Ctrl+C.")
    ] = False,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """What the node knows: studies, series, verdicts with reasons, deliveries."""
    from dicomnode.tracking import outdated
    from dicomnode.tracking.peers import away
    from dicomnode.tracking.refusals import summary
    from dicomnode.tracking.status import count_studies, studies_status, study_status

    if refusals and uid is not None:
        raise DicomnodeError("--refusals counts those of all studies: leave the UID out")
    if watch and (uid is not None or refusals or json_):
        raise DicomnodeError("--watch shows the whole node: leave the UID, --refusals, --json out")
    settings = quiet_settings(config)
    if watch:
        from dicomnode.app.watch_view import watch_node

        watch_node(out, settings, existing_database(settings))
        return
    with existing_database(settings).read() as connection:
        counts = summary(connection) if uid is None else ()
        if refusals:
            show(tables.refusals(counts), counts, json_)
            return
        total, wanted = count_studies(connection), _wanted_digest(settings)
        if uid is None:
            studies = studies_status(connection, limit, wanted)
        else:
            one = study_status(connection, uid, wanted)
            studies = (one,) if one else ()
        old = outdated.count(connection, wanted) if uid is None and wanted else 0
        absent = away(connection)
    if uid is not None and not studies:
        raise DicomnodeError(f"{uid}: no study and no series of this UID was received")
    show(tables.status(studies, counts), studies, json_)
    if uid is None and len(studies) < total:
        err.print(f"{len(studies)} of {total} studies; --limit shows more", highlight=False)
    for line in map(tables.away, absent):
        err.print(line, highlight=False)
    if old:
        sentence = f"{old} series were examined by another version: dicomnode reexamine"
        err.print(sentence, highlight=False)


def _wanted_digest(settings: Settings) -> WantedDigest | None:
    """None where the networks can't be told: that is said, and hides nothing else."""
    from dicomnode.inference.examiner import installed_examiner

    try:
        return installed_examiner(settings).wanted_digest
    except ModelError as error:
        err.print(f"which version examined what is not told: {error}", highlight=False)
        return None


def check(config: Config = None) -> None:
    """Does everything work: configuration, port, destinations, models, device, disk, database?"""
    from dicomnode.app.checkup import examine_site

    findings = examine_site(quiet_settings(config))
    out.print(tables.findings(findings))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
