"""What a monitor is told of what waits, and of how long each way of a series takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from dicomnode.meters import Distribution, Family
from dicomnode.tracking import audit, deliveries, examinations, flow, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.flow import Flow
from dicomnode.tracking.schema import examinations as examination_rows
from dicomnode.tracking.schema import revisions
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import SERIES, at, examined, instance


def told(families: tuple[Family, ...]) -> dict[str, dict[str, Any]]:
    return {
        family.name: {"".join(labels): value for labels, value in family.values.items()}
        for family in families
    }


def one_examined(database: Database, spool: Spool, name: str) -> int:
    """Last instance at 0 s, complete at 30 s, begun at 40 s, ended at 100 s; its examination."""
    with database.begin() as c:
        instances.add(c, [instance(1, series=name)])
        key = c.scalar(sa.text(f"SELECT id FROM series WHERE series_instance_uid = '{name}'"))
        assert key is not None
        revision = series.add_revision(c, key, spool, at(30))
        assert revision is not None
        examinations.start(c, revision.id)
        examination_id = examinations.record(c, revision.id, examined(revision))
        r, e = revisions, examination_rows
        c.execute(r.update().where(r.c.id == revision.id).values(examination_started_at=at(40)))
        c.execute(e.update().where(e.c.id == examination_id).values(created_at=at(100)))
    return examination_id


def test_the_queues_say_how_much_waits_and_since_when(database: Database, spool: Spool) -> None:
    names = [f"{SERIES}.{number}" for number in range(4)]
    with database.begin() as c:
        instances.add(c, [instance(1, series=name) for name in names])
        for key in (1, 2):
            series.add_revision(c, key, spool, at(30 * key))
    examination_id = one_examined(database, spool, f"{SERIES}.9")
    with database.begin() as c:
        deliveries.add(c, examination_id, "pacs")
        deliveries.add(c, examination_id, "sender:CT@10.0.0.1")
    with database.read() as c:
        found = told(flow.queues(c, at(90)))
        pending = told(flow.destinations(c, ["pacs", "other-pacs"]))
    assert found["queue_depth"] == {
        "receive": 2,
        "examine": 2,
        "examining": 0,
        "deliver": 2,
        "pull": 0,
        "gate": 0,
    }
    ages = found["queue_oldest_age_seconds"]
    assert (ages["receive"], ages["examine"], ages["examining"]) == (90, 60, 0)
    assert pending["deliveries_pending"] == {"pacs": 1, "other-pacs": 0, "other": 1}
    assert pending["destination_failing"] == {"pacs": 0}


def test_what_was_sent_and_is_not_proven_waits(database: Database, spool: Spool) -> None:
    examination_id = one_examined(database, spool, SERIES)
    with database.begin() as c:
        (key,) = deliveries.add(c, examination_id, "pacs")
        deliveries.mark_stored(c, key)
    with database.read() as c:
        assert told(flow.queues(c, at(90)))["queue_depth"]["deliver"] == 1
        assert told(flow.destinations(c, ["pacs"]))["deliveries_pending"] == {"pacs": 1}


def test_a_destination_fails_until_it_takes_something(database: Database, spool: Spool) -> None:
    examination_id = one_examined(database, spool, SERIES)
    with database.begin() as c:
        (key,) = deliveries.add(c, examination_id, "pacs")
        deliveries.claim(c, key)
        later = datetime.now(UTC) + timedelta(seconds=9)
        deliveries.mark_failed(c, key, "it does not answer", later)
    with database.read() as c:
        assert told(flow.destinations(c, ["pacs"]))["destination_failing"] == {"pacs": 1}
    with database.begin() as c:
        deliveries.claim(c, key)
        deliveries.mark_delivered(c, key)
    with database.read() as c:
        assert told(flow.destinations(c, ["pacs"]))["destination_failing"] == {"pacs": 0}


def test_ways_are_added_up_from_the_first_look_on(database: Database, spool: Spool) -> None:
    one_examined(database, spool, f"{SERIES}.1")
    adding = Flow()
    with database.read() as c:
        first = told(adding.look(c))
    assert first["series_verdict_seconds"][""].sum == 0
    for name in (f"{SERIES}.2", f"{SERIES}.3"):
        one_examined(database, spool, name)
    with database.read() as c:
        second = told(adding.look(c))
        third = told(adding.look(c))
    assert second == third
    sums = {name: second[name][""].sum for name in flow.WAYS}
    assert sums == {
        "series_complete_seconds": 60,
        "series_verdict_seconds": 200,
        "series_delivered_seconds": 0,
        "examination_seconds": 120,
    }
    found = second["series_verdict_seconds"][""]
    assert found == Distribution.of([100, 100], flow.WAYS["series_verdict_seconds"].bounds)


def test_events_are_those_of_the_whole_log_and_a_delivery_has_its_way(
    database: Database, spool: Spool
) -> None:
    examination_id = one_examined(database, spool, SERIES)
    with database.begin() as c:
        audit.append(c, "login", "anna", at=at(1))
        (key,) = deliveries.add(c, examination_id, "pacs")
        uid = deliveries.load(c, key).segmentation.sop_instance_uid
    adding = Flow()
    with database.read() as c:
        before = told(adding.look(c))["audit_events_total"]
    with database.begin() as c:
        audit.append(c, "delivered", uid, at=at(400))
        audit.append(c, "login", "bert", at=at(401))
    with database.read() as c:
        after = told(adding.look(c))
    assert after["audit_events_total"]["login"] == before["login"] + 1 == 2
    assert after["audit_events_total"]["delivered"] == 1
    assert after["series_delivered_seconds"][""].sum == 400


def test_a_series_that_grew_meanwhile_gives_no_negative_time(
    database: Database, spool: Spool
) -> None:
    adding = Flow()
    with database.read() as c:
        adding.look(c)
    one_examined(database, spool, SERIES)
    with database.begin() as c:
        instances.add(c, [instance(2, seconds=5000)])
    with database.read() as c:
        found = told(adding.look(c))
    assert sum(found["series_verdict_seconds"][""].counts) == 0
    assert found["examination_seconds"][""].sum == 60
