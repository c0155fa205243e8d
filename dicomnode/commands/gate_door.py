"""`gate serve`, `gate waiting`, `gate discard`: the gate's DICOM door, and what waits there."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from dicomnode.app import export_tables
from dicomnode.app.notify import notify
from dicomnode.commands.common import (
    AsJson,
    Config,
    existing_database,
    quiet_settings,
    reload_on_signal,
    require_own_data_folder,
    say,
    settings_of,
    show,
    stop_on_signals,
)
from dicomnode.config import Settings
from dicomnode.errors import ConfigurationError
from dicomnode.meters import Meters


def serve(config: Config = None) -> None:
    """Run only the gate's DICOM door (systemd: dicomnode-gate.service)."""
    from dicomnode.gate.keys import private_key
    from dicomnode.gate.policy import policy_of
    from dicomnode.gate.release import Exit
    from dicomnode.gate_scp.server import serve as serve_gate
    from dicomnode.inference.examiner import ExaminerInUse
    from dicomnode.tracking.database import Database

    settings = settings_of(config)
    if not settings.gate_ae.enabled or settings.gate.key_file is None:
        raise ConfigurationError(
            "gate_ae.enabled is false: write an AE title, a project and an archive into "
            "[[gate_ae.titles]], and enabled = true"
        )
    stop = stop_on_signals()
    key, examiner = private_key(settings.gate.key_file), ExaminerInUse(settings)
    examiner.now()  # networks that can't be used are told before anything begins
    wanted = examiner.wanted_digest

    def exits(now: Settings, database: Database, project: str, archive: str, account: str) -> Exit:
        return Exit(database, key, policy_of(now, project), wanted, archive, account)

    meters = Meters()
    serve_gate(
        settings,
        exits,
        wanted,
        ready=lambda: notify("READY=1"),
        stop=stop,
        alive=lambda: notify("WATCHDOG=1"),
        reload=reload_on_signal(config, settings, meters),
        meters=meters,
    )


def waiting(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 100,
    before: Annotated[int | None, typer.Option(help="The next page: the last id seen.")] = None,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """What was sent to the gate's DICOM door and may not leave, or not yet, and why."""
    from dicomnode.tracking import held

    with existing_database(quiet_settings(config)).read() as connection:
        found = held.newest(connection, limit, before=before)
    show(export_tables.waiting(found), found, json_)


def discard(
    held_id: Annotated[int, typer.Argument(metavar="ID", help="As `gate waiting` tells it.")],
    by: Annotated[str, typer.Option("--by", help="Your account; default: your login.")] = "",
    config: Config = None,
) -> None:
    """Settle what waits at the gate: it never leaves, and its file is removed."""
    from dicomnode.tracking import held
    from dicomnode.tracking.account_names import account_name
    from dicomnode.tracking.spool import Spool

    settings = quiet_settings(config)
    require_own_data_folder(settings)
    account = account_name(by or getpass.getuser())
    with existing_database(settings).begin() as connection:
        found = held.discard(connection, held_id, account=account)
    Spool(settings.waiting_folder).path(found.file.name).unlink(missing_ok=True)
    say(f"{held_id}: discarded; instance {found.file.sop_instance_uid} does not leave")
