"""`status`, `gate`, `check`: questions to the node."""

from __future__ import annotations

from typing import Annotated

import typer

from dicomnode.app import tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    Project,
    err,
    existing_database,
    out,
    quiet_settings,
    show,
)
from dicomnode.config import Settings
from dicomnode.config_policy import DEFAULT_PROJECT
from dicomnode.domain import GateOutcome, WantedDigest
from dicomnode.errors import DicomnodeError, ModelError

GATE_EXIT_CODES = {GateOutcome.RELEASE: 0, GateOutcome.HOLD: 3, GateOutcome.UNKNOWN_STUDY: 4}


def status(
    uid: Annotated[str | None, typer.Argument(help="A Study or Series Instance UID.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many studies, the newest first.")] = 50,
    refusals: Annotated[
        bool, typer.Option("--refusals", help="Only how often each refusal code was recorded.")
    ] = False,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """What the node knows: studies, series, verdicts with reasons, deliveries."""
    from dicomnode.tracking import outdated
    from dicomnode.tracking.refusals import summary
    from dicomnode.tracking.status import count_studies, studies_status, study_status

    if refusals and uid is not None:
        raise DicomnodeError("--refusals counts those of all studies: leave the UID out")
    settings = quiet_settings(config)
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
    if uid is not None and not studies:
        raise DicomnodeError(f"{uid}: no study and no series of this UID was received")
    show(tables.status(studies, counts), studies, json_)
    if uid is None and len(studies) < total:
        err.print(f"{len(studies)} of {total} studies; --limit shows more", highlight=False)
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


def gate(
    study_uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    project: Project = DEFAULT_PROJECT,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """May this study leave? Exit code 0 release, 3 hold, 4 unknown study."""
    from dicomnode.gate.decision import decide
    from dicomnode.gate.policy import policy_of
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.tracking.findings import verdicts_of_study

    settings = quiet_settings(config)
    with existing_database(settings).read() as connection:
        findings = verdicts_of_study(connection, study_uid)
    wanted = installed_examiner(settings).wanted_digest
    decision = decide(study_uid, findings, policy_of(settings, project), wanted)
    show(tables.gate(decision), decision, json_)
    raise typer.Exit(GATE_EXIT_CODES[decision.outcome])


def check(config: Config = None) -> None:
    """Does everything work: configuration, port, destinations, models, device, disk, database?"""
    from dicomnode.app.checkup import examine_site

    findings = examine_site(quiet_settings(config))
    out.print(tables.findings(findings))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
