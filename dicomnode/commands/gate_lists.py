"""`gate list`, `gate folder`: the gate's decision for many studies, and for a folder of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dicomnode.app import gate_tables, tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    Project,
    existing_database,
    out,
    quiet_settings,
    show,
)
from dicomnode.config_policy import DEFAULT_PROJECT
from dicomnode.domain import GateOutcome, as_json

HOLDS = 3


def gate_list(
    studies: Annotated[Path, typer.Argument(help="A file, one Study Instance UID a line.")],
    project: Project = DEFAULT_PROJECT,
    json_: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
    config: Config = None,
) -> None:
    """May all of these studies leave? Exit code 0: every one of them; 3: not all."""
    from dicomnode.gate.policy import policy_of
    from dicomnode.gate.studies import decide_studies
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.retrieval.find import listed_uids

    uids = listed_uids(studies)
    settings = quiet_settings(config)
    database, policy = existing_database(settings), policy_of(settings, project)
    wanted = installed_examiner(settings).wanted_digest
    all_released = True
    for decision in decide_studies(database, uids, policy, wanted):
        all_released &= decision.outcome is GateOutcome.RELEASE
        if json_:
            print(json.dumps(as_json(decision)))
        else:
            out.print(tables.gate(decision))
    if not all_released:
        raise typer.Exit(HOLDS)


def gate_folder(
    folder: Annotated[Path, typer.Argument(help="What is about to be handed over.")],
    project: Project = DEFAULT_PROJECT,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """May this folder be handed over? Exit code 0: every file in it was examined; 3: hold."""
    from dicomnode.gate.folder import decide_folder
    from dicomnode.gate.policy import policy_of
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.tracking.spool import Spool

    settings = quiet_settings(config)
    decision = decide_folder(
        folder,
        existing_database(settings),
        Spool(settings.spool_folder),
        policy_of(settings, project),
        installed_examiner(settings).wanted_digest,
    )
    show(gate_tables.gate_folder(folder, decision), decision, json_)
    if decision.outcome is not GateOutcome.RELEASE:
        raise typer.Exit(HOLDS)
