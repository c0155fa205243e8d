"""The outbox."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomnode.domain import DeliveryState, SegmentationFile
from dicomnode.tracking import deliveries, examinations, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.deliveries import Delivery
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import (
    SERIES,
    STUDY,
    at,
    examined,
    instance,
    refused,
    segmentation,
    two_echoes,
)


@pytest.fixture
def delivery_id(database: Database, spool: Spool) -> int:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examination_id = examinations.record(connection, revision.id, examined(revision))
        (only,) = deliveries.add(connection, examination_id, "pacs", at(40))
    return only


def test_a_delivery_knows_what_goes_where(database: Database, delivery_id: int) -> None:
    with database.read() as connection:
        delivery = deliveries.load(connection, delivery_id)
    assert delivery.segmentation == segmentation()
    assert delivery.destination == "pacs"
    assert delivery.study_instance_uid == STUDY
    assert delivery.examined_series_instance_uid == SERIES
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 0)


def test_adding_it_again_changes_nothing(database: Database, delivery_id: int) -> None:
    with database.begin() as connection:
        deliveries.mark_delivered(connection, delivery_id)
        examination_id = deliveries.load(connection, delivery_id).examination_id
        (again,) = deliveries.add(connection, examination_id, "pacs")
        assert again == delivery_id
        assert deliveries.load(connection, again).state is DeliveryState.DELIVERED


def test_every_seg_of_an_examination_is_queued_once_for_each_destination(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examination_id = examinations.record(connection, revision.id, two_echoes(revision))
        added = [deliveries.add(connection, examination_id, name) for name in ("pacs", "archive")]
        assert deliveries.add(connection, examination_id, "pacs") == added[0]
        queued = deliveries.of_examinations(connection, [examination_id])
    assert [delivery.id for delivery in queued] == [*added[0], *added[1]]
    assert [(item.destination, item.segmentation) for item in queued] == [
        ("pacs", segmentation(1)),
        ("pacs", segmentation(2)),
        ("archive", segmentation(1)),
        ("archive", segmentation(2)),
    ]


def again(database: Database, spool: Spool, seg: SegmentationFile) -> Delivery:
    """Examine the series of `delivery_id` again, with this SEG as the result."""
    with database.begin() as connection:
        revision = series.load_revision(connection, 1, spool)
        same = examined(revision)
        volumes = (replace(same.volumes[0], segmentation=seg),)
        examination_id = examinations.record(connection, 1, replace(same, volumes=volumes))
        (added,) = deliveries.add(connection, examination_id, "pacs")
        return deliveries.load(connection, added)


def test_a_result_that_the_destination_has_is_not_sent_again(
    database: Database, spool: Spool, delivery_id: int
) -> None:
    with database.begin() as connection:
        deliveries.mark_delivered(connection, delivery_id)
    same = again(database, spool, segmentation())
    assert (same.state, same.attempts) == (DeliveryState.DELIVERED, 0)
    with database.begin() as connection:
        assert deliveries.claim(connection, same.id) is None
        (elsewhere,) = deliveries.add(connection, same.examination_id, "archive")
        assert deliveries.load(connection, elsewhere).state is DeliveryState.PENDING


def test_another_result_goes_out_and_so_does_the_first_one_when_it_comes_back(
    database: Database, spool: Spool, delivery_id: int
) -> None:
    """A viewer shows the newest instance of the series, so the last one sent has to be the one."""
    with database.begin() as connection:
        deliveries.mark_delivered(connection, delivery_id)
    other = again(database, spool, segmentation(2))
    assert other.state is DeliveryState.PENDING
    with database.begin() as connection:
        deliveries.mark_delivered(connection, other.id)
    assert again(database, spool, segmentation()).state is DeliveryState.PENDING


@pytest.mark.parametrize("end", ["pending", "refused", "cancelled"])
def test_what_never_arrived_is_sent(
    database: Database, spool: Spool, delivery_id: int, end: str
) -> None:
    with database.begin() as connection:
        if end == "refused":
            deliveries.mark_refused(connection, delivery_id, "0xA900")
        elif end == "cancelled":
            deliveries.cancel(connection, delivery_id)
    assert again(database, spool, segmentation()).state is DeliveryState.PENDING


def test_an_examination_without_a_seg_queues_nothing(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examination_id = examinations.record(connection, revision.id, refused(revision))
        assert deliveries.add(connection, examination_id, "pacs") == ()


def test_attempts_are_counted_and_a_failure_keeps_it_pending(
    database: Database, delivery_id: int
) -> None:
    with database.begin() as connection:
        assert deliveries.claim(connection, delivery_id) is not None
        deliveries.mark_failed(connection, delivery_id, "connection refused", at(60))
        claimed = deliveries.claim(connection, delivery_id)
    assert claimed is not None
    assert (claimed.attempts, claimed.last_error) == (2, "connection refused")
    assert claimed.next_attempt_at == at(60)


@pytest.mark.parametrize("end", ["delivered", "refused", "cancelled"])
def test_nothing_is_sent_after_an_end(database: Database, delivery_id: int, end: str) -> None:
    with database.begin() as connection:
        if end == "delivered":
            deliveries.mark_delivered(connection, delivery_id)
        elif end == "refused":
            deliveries.mark_refused(connection, delivery_id, "0xA900")
        else:
            assert deliveries.cancel(connection, delivery_id)
        assert deliveries.claim(connection, delivery_id) is None
        deliveries.mark_failed(connection, delivery_id, "too late", at(60))
        assert deliveries.load(connection, delivery_id).state.value == end
        assert not deliveries.cancel(connection, delivery_id)
        assert deliveries.retry(connection, delivery_id) is (end != "delivered")


def test_unknown_deliveries_are_said_to_be_unknown(database: Database) -> None:
    with database.begin() as connection:
        assert deliveries.claim(connection, 4711) is None
        with pytest.raises(LookupError):
            deliveries.load(connection, 4711)


def test_deliveries_are_listed_by_state(database: Database, delivery_id: int) -> None:
    with database.read() as connection:
        pending = deliveries.list_(connection, [DeliveryState.PENDING])
        ended = deliveries.list_(connection, [DeliveryState.DELIVERED])
    assert [delivery.id for delivery in pending] == [delivery_id]
    assert ended == []
