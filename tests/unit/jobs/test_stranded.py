"""Jobs whose end could not be written are begun again; failed ones are left to people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from dicomnode.domain import DeliveryState
from dicomnode.jobs.attempts import first_attempt
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.stranded import Stranded
from dicomnode.tracking import deliveries, examinations, parked, series
from dicomnode.tracking.parked import Parked
from tests import small_node
from tests.examined_site import *  # noqa: F403
from tests.examined_site import Site


@pytest.fixture
def queue(site: Site) -> Iterator[JobQueue]:
    made = JobQueue(site.database)
    yield made
    made.close()


def states(queue: JobQueue) -> dict[str, tuple[str, str | None, str | None]]:
    """Of each job: how it stands, and where."""
    return {
        job.workflow_id: (job.status, job.queue_name, job.queue_partition_key)
        for job in queue.client.list_workflows()
    }


def fail_all(site: Site) -> None:
    """As the engine writes it."""
    with site.database.begin() as c:
        c.execute(sa.text("UPDATE workflow_status SET status = 'ERROR', queue_name = NULL"))


def deliver(site: Site, queue: JobQueue) -> str:
    """A delivery of the newest examination that waits, and its job."""
    with site.database.begin() as c:
        newest = deliveries.list_(c, limit=1)[0]
        return queue.enqueue_delivery(c, first_attempt(newest.id))


def examine(site: Site, queue: JobQueue, name: str) -> tuple[str, int]:
    small_node.put_series(site.settings, site.database, name)
    with site.database.begin() as c:
        (series_id,) = site._unexamined(c)
        revision = series.add_revision(c, series_id, site.spool, datetime.now(UTC))
        assert revision is not None
        examinations.start(c, revision.id)
        return queue.enqueue_examination(c, revision), revision.id


def test_what_still_waits_for_a_failed_job_gets_it_again(site: Site, queue: JobQueue) -> None:
    site.series("one", state=DeliveryState.PENDING)
    sent = deliver(site, queue)
    examined, _ = examine(site, queue, "two")
    fail_all(site)
    stranded = Stranded(queue.client, site.database)
    assert stranded.look() == 2
    assert states(queue) == {
        sent: ("ENQUEUED", "deliveries", "pacs"),
        examined: ("ENQUEUED", "gpu", None),
    }
    assert stranded.look() == 0
    fail_all(site)
    assert stranded.look() == 2, "seldom, but not only once"


def test_what_failed_on_record_ended_or_waits_elsewhere_is_left(
    site: Site, queue: JobQueue
) -> None:
    site.series("delivered")
    deliver(site, queue)
    site.series("parked", state=DeliveryState.PENDING)
    deliver(site, queue)
    with site.database.begin() as c:
        key = deliveries.list_(c, limit=1)[0].id
        parked.park(c, "pacs", Parked(key, 2, 0.0, 0.0, 0.0, 0.0, 0.0))
    _, failed = examine(site, queue, "failed")
    with site.database.begin() as c:
        examinations.record_failure(c, failed, "no volume")
    fail_all(site)
    site.series("goes on", state=DeliveryState.PENDING)
    first = deliver(site, queue)
    fail_all(site)
    with site.database.begin() as c:
        key = deliveries.list_(c, limit=1)[0].id
        following = queue.enqueue_delivery(c, first_attempt(key, first))
    before = states(queue)
    assert Stranded(queue.client, site.database).look() == 0
    assert states(queue) == before
    assert before[following][0] == "ENQUEUED"
