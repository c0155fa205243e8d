"""A clock that is set back by an hour costs a series its quiet time, not the hour."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from dicomnode.config import CompletenessSettings
from dicomnode.tracking import associations, clock, expected, instances, series
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.completeness import decide
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.schema import associations as association_rows
from dicomnode.tracking.schema import instances as instance_rows
from dicomnode.tracking.schema import series as series_rows
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import SERIES, STUDY, association, at, instance

SETTINGS = CompletenessSettings(quiet_seconds=30)
HOUR = 3600.0


def receive(database: Database, seconds: float) -> None:
    with database.begin() as c:
        associations.open_(c, [association("a", seconds)])
        instances.add(c, [instance(number, seconds, association="a") for number in range(3)])
        associations.close(c, [ClosedAssociation("a", "released", at(seconds))])


def test_a_series_of_the_future_is_seen_and_counts_complete_it(database: Database) -> None:
    receive(database, HOUR)
    with database.begin() as c:
        (facts,) = unrevised(c, at(0))
        assert facts.received_at == facts.quiet_since == at(0)
        assert decide(facts, SETTINGS, at(0)) is None
        expected.expect_count(c, STUDY, SERIES, 3, "MPPS")
        (facts,) = unrevised(c, at(0))
        assert decide(facts, SETTINGS, at(0)) is not None


def test_its_quiet_time_begins_now(database: Database, spool: Spool) -> None:
    receive(database, HOUR)
    with database.begin() as c:
        assert clock.was_set_back(c, at(0))
        clock.mend(c, at(0))
        assert not clock.was_set_back(c, at(0))
        assert series.complete(c, 1, spool, SETTINGS, at(29)) is None
        assert series.complete(c, 1, spool, SETTINGS, at(30)) is not None


def test_a_killed_receiver_of_the_future_is_dead(database: Database) -> None:
    with database.begin() as c:
        associations.open_(c, [association("a", HOUR)])
        assert clock.was_set_back(c, at(0))
        clock.mend(c, at(0))
        assert not clock.was_set_back(c, at(0))
        assert associations.close_lost(c, at(60)) == 1


def test_the_hour_that_daylight_saving_repeats_has_its_order_and_its_length(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Berlin 02:30 comes twice on 2026-10-25; the receiver's clock shows both."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        zone = ZoneInfo("Europe/Berlin")
        first = datetime(2026, 10, 25, 2, 30, fold=0, tzinfo=zone)
        again = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zone)
        with database.begin() as c:
            instances.add(c, [replace(instance(1), received_at=first)])
            instances.add(c, [replace(instance(2), received_at=again)])
            (row,) = c.execute(sa.select(series_rows)).all()
            received = c.scalars(sa.select(instance_rows.c.received_at)).all()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row.last_received_at - row.first_received_at == timedelta(hours=1)
    assert sorted(received) == [first.astimezone(UTC), again.astimezone(UTC)]


def test_clocks_of_two_hosts_may_differ_a_little(database: Database) -> None:
    receive(database, 5)
    with database.begin() as c:
        assert not clock.was_set_back(c, at(0))
        (facts,) = unrevised(c, at(0))
        assert facts.quiet_since == at(0)
        assert c.scalar(sa.select(association_rows.c.closed_at)) == at(5)
