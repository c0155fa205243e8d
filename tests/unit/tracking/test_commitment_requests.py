"""When a report on Storage Commitment that was not taken is sent again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from dicomnode.tracking import commitment_requests
from dicomnode.tracking.commitment_requests import CommitmentRequest
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import commitment_requests as table
from tests.databases import *  # noqa: F403
from tests.unit.tracking.rows import at


@pytest.fixture
def asked(database: Database) -> CommitmentRequest:
    with database.begin() as c:
        found = commitment_requests.add(c, "1.2", "ME", "10.0.0.1", [("1.2.3", "1.2.4")], at(0))
    assert found is not None
    return found


def due(database: Database, now: datetime) -> list[CommitmentRequest]:
    with database.read() as c:
        return commitment_requests.due(c, now, 10)


def next_report_at(database: Database) -> datetime | None:
    with database.read() as c:
        return c.scalar(sa.select(table.c.next_report_at))


def test_it_is_tried_ever_more_seldom_for_a_day_and_then_left(
    database: Database, asked: CommitmentRequest
) -> None:
    now, pauses = at(0), []
    while (next_at := next_report_at(database)) is not None:
        pauses.append(next_at - now)
        now = next_at
        (waiting,) = due(database, now)
        with database.begin() as c:
            commitment_requests.claim(c, waiting, now)
    assert pauses[:7] == [timedelta(seconds=s) for s in (30, 30, 60, 120, 240, 480, 900)]
    assert timedelta(hours=23) < now - at(0) < timedelta(hours=26)


def test_a_clock_that_jumps_neither_ends_it_nor_makes_it_wait_for_hours(
    database: Database, asked: CommitmentRequest
) -> None:
    assert due(database, at(0)) == []
    assert due(database, at(0) - timedelta(hours=10)) == [asked]
    a_year = at(0) + timedelta(days=365)
    with database.begin() as c:
        assert commitment_requests.claim(c, asked, a_year)
    assert len(due(database, a_year + timedelta(minutes=1))) == 1
