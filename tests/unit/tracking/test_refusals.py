"""The counters of what no volume could be made of."""

from __future__ import annotations

from dataclasses import replace

from dicomnode.domain import Refusal, RefusalCode, SetAside
from dicomnode.tracking import examinations, instances, refusals, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.refusals import RefusalCount
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import at, examined, instance, refused, two_echoes

MOSAIC = SetAside(Refusal(RefusalCode.MOSAIC, "It is a mosaic."), 2)


def test_nothing_was_refused_yet(database: Database) -> None:
    with database.read() as connection:
        assert refusals.counts(connection) == {}
        assert refusals.summary(connection) == ()


def test_a_counter_never_goes_down(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examinations.record(connection, revision.id, refused(revision))
        assert refusals.counts(connection) == {"LOCALIZER": 1}
        assert refusals.current(connection) == {"LOCALIZER": 1}
        examinations.record(connection, revision.id, examined(revision))
        assert refusals.counts(connection) == {"LOCALIZER": 1}
        assert refusals.current(connection) == {}


def test_each_code_is_counted_for_itself(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examinations.record(connection, revision.id, two_echoes(revision))
        both = replace(refused(revision), set_aside=(*refused(revision).set_aside, MOSAIC))
        examinations.record(connection, revision.id, both)
        assert refusals.summary(connection) == (
            RefusalCount("LOCALIZER", 2, 1),
            RefusalCount("MOSAIC", 1, 1),
        )
