"""A thousand deliveries to a destination that is away cost one question a pause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import sqlalchemy as sa

from dicomnode.config import DestinationSettings, Settings
from dicomnode.errors import DeliveryRefusedError, DestinationAwayError
from dicomnode.jobs.attempts import Attempt
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.peers import Peers
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import circuits, deliveries, examinations, instances, parked, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.parked import Parked
from dicomnode.tracking.schema import deliveries as deliveries_table
from dicomnode.tracking.schema import destinations
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import at, examined, instance

MANY = 1000
HOUR = 3600.0


@dataclass
class Site:
    """A PACS that is asked, and the attempts that were put into the lanes."""

    peers: Peers
    database: Database
    is_away: bool = True
    refuses_echo: bool = False
    asked: int = 0
    enqueued: list[Attempt] = field(default_factory=list)

    def echo(self, _to: DestinationSettings, _ae: str) -> None:
        self.asked += 1
        if self.is_away:
            raise DestinationAwayError("no answer")
        if self.refuses_echo:
            raise DeliveryRefusedError("Verification is not offered")

    def enqueue_delivery(self, _connection: sa.Connection, attempt: Attempt) -> str:
        self.enqueued.append(attempt)
        return attempt.job_id

    def pause_ends(self) -> None:
        with self.database.begin() as c:
            c.execute(destinations.update().values(probe_at=at(0)))


@pytest.fixture
def site(make_settings: Callable[..., Settings]) -> Site:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    settings = make_settings(destinations=[pacs], delivery={"circuit_failures": 1})
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    database.migrate()
    made = Site(cast(Any, None), database)
    stages = Stages(cast(Any, None), cast(Any, None), echo=made.echo)
    made.peers = Peers(settings, database, cast(JobQueue, made), stages)
    with database.begin() as c:
        instances.add(c, [instance(1)])
        revision = series.add_revision(c, 1, spool, at(1))
        assert revision is not None
        (first,) = deliveries.add(
            c, examinations.record(c, revision.id, examined(revision)), "pacs"
        )
        row = c.execute(sa.select(deliveries_table)).mappings().one()
        # One SEG goes to each destination once, so the others have other names.
        rows = [{**row, "id": first + n, "destination": f"pacs, again {n}"} for n in range(1, MANY)]
        c.execute(deliveries_table.insert(), rows)
        circuits.note_failure(c, "pacs", first, "no answer", settings.delivery, at(0))
        for n in range(MANY):
            waits = Attempt(first + n, 2, 0.0, 4e9, loss_seconds=60.0, waited_seconds=HOUR)
            parked.park(c, "pacs", Parked(**vars(waits)))
    return made


def test_while_it_is_away_it_is_asked_once_a_pause_and_nothing_else_happens(site: Site) -> None:
    for pauses in range(1, 4):
        site.pause_ends()
        for _ in range(20):
            site.peers.look()
        assert site.asked == pauses
    assert site.enqueued == []


def test_when_it_is_back_one_goes_on_trial_and_all_others_after_it(site: Site) -> None:
    site.is_away = False
    site.pause_ends()
    for _ in range(5):
        site.peers.look()
    (trial,) = site.enqueued
    with site.database.begin() as c:
        assert circuits.of_delivery(c, trial.delivery_id).lets_pass(trial.delivery_id)
        assert circuits.note_answer(c, "pacs")
    site.peers.look()
    assert {attempt.delivery_id for attempt in site.enqueued} == set(range(1, MANY + 1))
    assert len(site.enqueued) == MANY
    assert {attempt.delay_seconds for attempt in site.enqueued} == {0.0}


def test_what_an_attempt_knew_it_knows_after_its_wait(site: Site) -> None:
    """The pause after a loss, and how long it has been waiting: two pauses of a minute more."""
    for _ in range(2):
        site.pause_ends()
        site.peers.look()
    with site.database.begin() as c:
        circuits.note_answer(c, "pacs")
    site.peers.look()
    assert {attempt.loss_seconds for attempt in site.enqueued} == {60.0}
    assert {attempt.waited_seconds for attempt in site.enqueued} == {HOUR + 120}


def test_those_that_waited_for_all_of_their_patience_go_and_are_given_up(site: Site) -> None:
    """96 hours, of which one has passed, in pauses of an hour; whatever the clock says."""
    delivery = site.peers.settings.delivery.model_copy(update={"probe_seconds": HOUR})
    site.peers.settings = site.peers.settings.model_copy(update={"delivery": delivery})
    for _ in range(95):
        assert site.enqueued == []
        site.pause_ends()
        site.peers.look()
    assert len(site.enqueued) == MANY
    assert all(each.gives_up(delivery) for each in site.enqueued)


def test_a_trial_that_came_to_nothing_is_followed_by_another(site: Site) -> None:
    site.is_away = False
    for _ in range(2):
        site.pause_ends()
        site.peers.look()
    first, second = site.enqueued
    assert first.delivery_id != second.delivery_id


def test_one_that_stores_but_takes_no_c_echo_is_found_to_be_back(site: Site) -> None:
    site.is_away, site.refuses_echo = False, True
    site.pause_ends()
    site.peers.look()
    assert len(site.enqueued) == 1, "one is on trial, and closes the circuit or not"


def test_a_destination_that_left_the_configuration_keeps_nobody_waiting(site: Site) -> None:
    settings = site.peers.settings.model_copy(update={"destinations": ()})
    site.peers = Peers(settings, *(getattr(site.peers, n) for n in ("database", "queue", "stages")))
    site.pause_ends()
    site.peers.look()
    assert site.asked == 0
    assert len(site.enqueued) == 1
