"""What the gate's doors ask of a large database, they find by an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.tracking import exports, held, receipts
from dicomnode.tracking.database import Database
from dicomnode.tracking.exports import Export
from tests.unit.tracking.plans import query_plans

Question = Callable[[sa.Connection], object]
ANNA = Export("heads", "/mnt/out", "anna")


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    made.migrate()
    return made


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: receipts.newest(c, 1, "1.2", "heads"),
        lambda c: exports.newest(c, study_instance_uid="1.2"),
        lambda c: exports.one(c, 1),
        lambda c: exports.instances_of(c, 1),
        lambda c: exports._gone(c, ANNA, "1.2", {1}),
        lambda c: exports._newest_row(c, ANNA, "1.2", 1, exports._unfinished(ANNA)),
        lambda c: exports._stop_others(c, ANNA, "1.2", 0),
        lambda c: held.studies_waiting(c, 200, ("1.2", "heads")),
        lambda c: held.waiting_of(c, "1.2", "heads", 0, 200),
        lambda c: held.hold_study(c, "1.2", "heads", "because"),
        lambda c: held.names_open(c, ["ab/1.dcm"]),
    ],
)
def test_no_table_is_read_from_end_to_end(sqlite: Database, ask: Question) -> None:
    plans = query_plans(sqlite, ask)
    assert plans
    for plan in plans:
        assert "SCAN" not in plan, plan


def test_the_newest_of_the_ledger_are_read_from_its_end(sqlite: Database) -> None:
    for ask in (exports.newest, lambda c: exports.newest(c, before=9)):
        (plan,) = query_plans(sqlite, ask)
        assert "USE TEMP B-TREE" not in plan, plan
