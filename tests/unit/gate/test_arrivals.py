"""Between the durable file and its row the gate holds already."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from dicomnode.config import Settings
from dicomnode.domain import GateOutcome
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import policy_of
from dicomnode.intake.intake import Intake
from dicomnode.intake.running import running_intake
from dicomnode.tracking import examinations, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.schema import instances, studies
from dicomnode.tracking.spool import Spool
from tests.factories import make_series
from tests.unit.tracking.rows import examined

PEER = {"calling_ae_title": "A", "called_ae_title": "B", "address": "192.0.2.1"}


def gate(database: Database, settings: Settings) -> GateOutcome:
    with database.read() as connection:
        study = connection.scalars(sa.select(studies.c.study_instance_uid)).one()
        found = verdicts_of_study(connection, study)
    return decide(study, found, policy_of(settings), lambda subjects: "").outcome


def test_the_gate_holds_between_the_durable_file_and_its_row(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"node": {"data_folder": tmp_path / "data"}, "scp": {"minimum_free_bytes": 0}}
    )
    *files, late = make_series(tmp_path / "made", slices=3)
    with running_intake(settings) as intake:
        peer = intake.opened(**PEER)
        for file in files:
            intake.store_file(peer, file.read_bytes())
        intake.closed(peer, "released")
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    with database.begin() as connection:
        revision = series.add_revision(connection, 1, spool, datetime.now(UTC))
        assert revision is not None
        examinations.record(connection, revision.id, examined(revision))
    assert gate(database, settings) is GateOutcome.RELEASE

    never_indexing = Intake(settings.scp, database, spool, "r")  # its thread is not started
    never_indexing.store_file(never_indexing.opened(**PEER), late.read_bytes())
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(instances)) == len(files)
    assert gate(database, settings) is GateOutcome.HOLD
    database.close()
