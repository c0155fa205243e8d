"""A receiver that stood still is no dead one: what it says of its associations counts."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from dicomnode.tracking import associations, instances
from dicomnode.tracking.arrivals import Arrivals
from dicomnode.tracking.associations import HEARTBEAT_STALE_SECONDS, ClosedAssociation
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.schema import associations as rows
from tests.unit.tracking.rows import STUDY, association, at, instance

STALL = HEARTBEAT_STALE_SECONDS + 9


@pytest.fixture
def arrivals(database: Database) -> Arrivals:
    return Arrivals(database)


@pytest.fixture
def stalled(database: Database, arrivals: Arrivals) -> Database:
    """An association that sent to a series; another role gave it up for lost and settled it."""
    arrivals.opened(association("a"))
    arrivals.record("a", instance(1).header)
    with database.begin() as c:
        instances.add(c, [instance(1, association="a")])
        ended = associations.ended_unsettled(c, at(STALL))
        assert associations.close_lost(c, at(STALL)) == 1
        associations.settle(c, ended)
    assert not is_held(database)
    return database


def is_held(database: Database) -> bool:
    with database.read() as c:
        (finding,) = verdicts_of_study(c, STUDY)
    return finding.is_being_sent


def outcome(database: Database) -> str:
    with database.read() as c:
        return str(c.scalar(sa.select(rows.c.outcome)))


def test_a_heartbeat_opens_again_what_was_given_up_for_lost(stalled: Database) -> None:
    with stalled.begin() as c:
        associations.heartbeat(c, "r1", at(STALL + 1), {"a"})
        assert c.scalar(sa.select(associations.is_open(at(STALL + 1))).select_from(rows))
    assert is_held(stalled)
    with stalled.begin() as c:
        associations.close(c, [ClosedAssociation("a", "released", at(STALL + 60))])
    assert not is_held(stalled)
    assert outcome(stalled) == "released"


def test_the_next_series_opens_it_again_before_its_first_success(
    stalled: Database, arrivals: Arrivals
) -> None:
    arrivals.record("a", instance(1).header)  # on record already
    assert not is_held(stalled)
    arrivals.record("a", instance(1, series="1.9").header)
    with stalled.read() as c:
        assert [finding.is_being_sent for finding in verdicts_of_study(c, STUDY)] == [True, True]


def test_an_end_that_was_assumed_holds_nothing_open_that_has_ended(stalled: Database) -> None:
    with stalled.begin() as c:
        associations.heartbeat(c, "r1", at(STALL + 1), {"b"})
    assert not is_held(stalled)
    assert outcome(stalled) == "lost"


@pytest.mark.parametrize("incomplete", [(), ("a",)])
def test_the_true_end_overwrites_the_assumed_one(
    stalled: Database, incomplete: tuple[str, ...]
) -> None:
    with stalled.begin() as c:
        associations.close(c, [ClosedAssociation("a", "released", at(STALL + 2))], incomplete)
    assert outcome(stalled) == "released"
    assert is_held(stalled) == bool(incomplete)


def test_an_end_that_was_told_is_final(database: Database) -> None:
    with database.begin() as c:
        associations.open_(c, [association("a")])
        associations.close(c, [ClosedAssociation("a", "released", at(1))])
        associations.close(c, [ClosedAssociation("a", "aborted", at(2))])
        associations.heartbeat(c, "r1", at(3), {"a"})
    assert outcome(database) == "released"


def test_a_rebuild_does_not_settle_what_was_opened_again_meanwhile(stalled: Database) -> None:
    with stalled.begin() as c:
        associations.heartbeat(c, "r1", at(STALL + 1), {"a"})
        associations.settle(c, ["a"])
    assert is_held(stalled)
