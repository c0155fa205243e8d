"""How the last delivery to each destination ended."""

from __future__ import annotations

from dicomnode.tracking import deliveries, examinations, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.peers import last_deliveries
from dicomnode.tracking.spool import Spool
from tests.databases import *  # noqa: F403
from tests.unit.tracking.rows import at, examined, instance


def test_the_newest_delivery_to_each_destination_is_told(database: Database, spool: Spool) -> None:
    with database.begin() as c:
        instances.add(c, [instance(1)])
        revision = series.add_revision(c, 1, spool, at(1))
        assert revision is not None
        first = examinations.record(c, revision.id, examined(revision), at(2))
        (old,) = deliveries.add(c, first, "pacs", at(3))
        deliveries.mark_refused(c, old, "not now", at(4))
        second = examinations.record(c, revision.id, examined(revision), at(5))
        deliveries.add(c, second, "pacs", at(6))
        deliveries.add(c, second, "archive", at(7))
        found = {each.destination: each for each in last_deliveries(c)}
    assert set(found) == {"pacs", "archive"}
    assert (found["pacs"].state, found["pacs"].last_error) == ("pending", "")
