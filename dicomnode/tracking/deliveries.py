"""The outbox: one row per SEG and destination, from pending to one of three ends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import OPEN_DELIVERIES, DeliveryState, SegmentationFile, SegmentKind
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import deliveries, examinations, segmentations, series, volumes

_OPEN = [state.value for state in OPEN_DELIVERIES]


@dataclass(frozen=True)
class Delivery:
    """One SEG on its way to one destination; `attempts` counts those that were begun."""

    id: int
    examination_id: int
    study_instance_uid: str
    examined_series_instance_uid: str
    segmentation: SegmentationFile
    destination: str
    state: DeliveryState
    attempts: int
    last_error: str
    created_at: datetime
    updated_at: datetime
    next_attempt_at: datetime | None
    stored_at: datetime | None = None


def add(
    c: sa.Connection,
    examination_id: int,
    destination: str,
    now: datetime | None = None,
) -> tuple[int, ...]:
    """Queue every SEG of a recorded examination, in the order of its volumes.

    What the destination got last in that SEG series is there already: it stands as delivered.
    Adding it again returns the same ids.
    """
    at = now or datetime.now(UTC)
    of_examination = (
        sa.select(segmentations)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .where(volumes.c.examination_id == examination_id)
        .order_by(volumes.c.number)
    )
    rows = [
        {
            "segmentation_id": row.id,
            "destination": destination,
            "state": (
                DeliveryState.DELIVERED if _is_there(c, row, destination) else DeliveryState.PENDING
            ).value,
            "attempts": 0,
            "last_error": "",
            "created_at": at,
            "updated_at": at,
        }
        for row in c.execute(of_examination).all()
    ]
    insert_missing(c, deliveries, rows)
    queued = (
        sa.select(deliveries.c.id)
        .join(segmentations, segmentations.c.id == deliveries.c.segmentation_id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .where(volumes.c.examination_id == examination_id, deliveries.c.destination == destination)
        .order_by(volumes.c.number)
    )
    return tuple(c.scalars(queued))


def _is_there(c: sa.Connection, segmentation: sa.Row[Any], destination: str) -> bool:
    """The same UID is the same result: same pixels, same networks, run in the same way."""
    g = segmentations.c
    last_delivered = (
        sa.select(g.sop_instance_uid)
        .join(deliveries, deliveries.c.segmentation_id == g.id)
        .where(
            g.series_instance_uid == segmentation.series_instance_uid,
            deliveries.c.destination == destination,
            deliveries.c.state == DeliveryState.DELIVERED.value,
        )
        .order_by(deliveries.c.id.desc())
        .limit(1)
    )
    return bool(c.scalar(last_delivered) == segmentation.sop_instance_uid)


def claim(c: sa.Connection, delivery_id: int, now: datetime | None = None) -> Delivery | None:
    """Begin an attempt; None where the delivery has ended or doesn't exist."""
    claimed = c.execute(
        deliveries.update()
        .where(_is(delivery_id), deliveries.c.state == DeliveryState.PENDING.value)
        .values(attempts=deliveries.c.attempts + 1, updated_at=now or datetime.now(UTC))
    )
    return load(c, delivery_id) if claimed.rowcount == 1 else None


def unproven(c: sa.Connection, delivery_id: int) -> Delivery | None:
    """One that the destination took and is still to prove that it has kept."""
    query = _select().where(_is(delivery_id), deliveries.c.state == DeliveryState.STORED.value)
    row = c.execute(query).one_or_none()
    return None if row is None else _delivery(row)


def mark_delivered(c: sa.Connection, delivery_id: int, now: datetime | None = None) -> None:
    """The destination has it: that is so, whatever was decided here in the meantime."""
    c.execute(
        deliveries.update()
        .where(_is(delivery_id))
        .values(
            state=DeliveryState.DELIVERED.value,
            updated_at=now or datetime.now(UTC),
            last_error="",
            next_attempt_at=None,
        )
    )


def mark_stored(c: sa.Connection, delivery_id: int, now: datetime | None = None) -> bool:
    """The destination took it, and is to prove that it has kept it; False where that was known."""
    stored = c.execute(
        deliveries.update()
        .where(_is(delivery_id), deliveries.c.state == DeliveryState.PENDING.value)
        .values(
            state=DeliveryState.STORED.value,
            stored_at=now or datetime.now(UTC),
            updated_at=now or datetime.now(UTC),
            last_error="",
            next_attempt_at=None,
        )
    )
    return stored.rowcount == 1


def mark_lost(c: sa.Connection, delivery_id: int, error: str, next_attempt_at: datetime) -> None:
    """The destination did not keep it: it is to be sent again."""
    c.execute(
        deliveries.update()
        .where(_is(delivery_id), deliveries.c.state == DeliveryState.STORED.value)
        .values(
            state=DeliveryState.PENDING.value,
            stored_at=None,
            last_error=error,
            next_attempt_at=next_attempt_at,
            updated_at=datetime.now(UTC),
        )
    )


def mark_failed(
    c: sa.Connection,
    delivery_id: int,
    error: str,
    next_attempt_at: datetime,
    now: datetime | None = None,
) -> None:
    """An attempt failed, to send it or to prove that it was kept; the delivery stays as it is."""
    at = now or datetime.now(UTC)
    c.execute(
        deliveries.update()
        .where(_is(delivery_id), deliveries.c.state.in_(_OPEN))
        .values(last_error=error, next_attempt_at=next_attempt_at, updated_at=at)
    )


def mark_parked(c: sa.Connection, delivery_id: int, error: str) -> None:
    """It waits for its destination, which said this to others: nobody knows until when."""
    values = {"next_attempt_at": None, "last_error": error}
    c.execute(
        deliveries.update().where(_is(delivery_id), deliveries.c.state.in_(_OPEN)).values(values)
    )


def mark_refused(
    c: sa.Connection, delivery_id: int, error: str, now: datetime | None = None
) -> bool:
    """False where it has ended: one that was cancelled meanwhile stays so."""
    values = {
        "state": DeliveryState.REFUSED.value,
        "updated_at": now or datetime.now(UTC),
        "last_error": error,
        "next_attempt_at": None,
    }
    refused = c.execute(
        deliveries.update().where(_is(delivery_id), deliveries.c.state.in_(_OPEN)).values(values)
    )
    return refused.rowcount == 1


def cancel(c: sa.Connection, delivery_id: int, now: datetime | None = None) -> bool:
    """True when it had not ended."""
    cancelled = c.execute(
        deliveries.update()
        .where(_is(delivery_id), deliveries.c.state.in_(_OPEN))
        .values(state=DeliveryState.CANCELLED.value, updated_at=now or datetime.now(UTC))
    )
    return cancelled.rowcount == 1


def retry(c: sa.Connection, delivery_id: int, now: datetime | None = None) -> bool:
    """Make a refused or cancelled delivery pending again; False where it is neither."""
    ended = (DeliveryState.REFUSED.value, DeliveryState.CANCELLED.value)
    retried = c.execute(
        deliveries.update()
        .where(_is(delivery_id), deliveries.c.state.in_(ended))
        .values(
            state=DeliveryState.PENDING.value,
            next_attempt_at=None,
            updated_at=now or datetime.now(UTC),
        )
    )
    return retried.rowcount == 1


def cancel_of_series(c: sa.Connection, series_id: int, now: datetime) -> None:
    """Cancel what is still waiting of earlier examinations of a series."""
    of_series = (
        sa.select(segmentations.c.id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .join(examinations, examinations.c.id == volumes.c.examination_id)
        .where(examinations.c.series_id == series_id)
    )
    c.execute(
        deliveries.update()
        .where(
            deliveries.c.segmentation_id.in_(of_series),
            deliveries.c.state.in_(_OPEN),
        )
        .values(
            state=DeliveryState.CANCELLED.value,
            last_error="superseded by a newer examination",
            updated_at=now,
        )
    )


def load(c: sa.Connection, delivery_id: int) -> Delivery:
    """Raises `LookupError` for an unknown id."""
    row = c.execute(_select().where(_is(delivery_id))).one_or_none()
    if row is None:
        raise LookupError(f"there is no delivery {delivery_id}")
    return _delivery(row)


def is_open(c: sa.Connection, delivery_id: int) -> bool:
    of_it = (_is(delivery_id), deliveries.c.state.in_(_OPEN))
    return c.scalar(sa.select(deliveries.c.id).where(*of_it)) is not None


def destination_of(c: sa.Connection, delivery_id: int) -> str:
    """Empty where there is no such delivery."""
    return c.scalar(sa.select(deliveries.c.destination).where(_is(delivery_id))) or ""


def list_(
    c: sa.Connection,
    states: Collection[DeliveryState] = tuple(DeliveryState),
    limit: int = 1000,
) -> list[Delivery]:
    """Newest first."""
    query = (
        _select()
        .where(deliveries.c.state.in_([state.value for state in states]))
        .order_by(deliveries.c.id.desc())
        .limit(limit)
    )
    return [_delivery(row) for row in c.execute(query)]


def of_examinations(c: sa.Connection, examination_ids: Collection[int]) -> list[Delivery]:
    """Oldest first."""
    query = (
        _select()
        .where(volumes.c.examination_id.in_(list(examination_ids)))
        .order_by(deliveries.c.id)
    )
    return [_delivery(row) for row in c.execute(query)]


def segmentation_file(row: sa.Row[Any]) -> SegmentationFile:
    """From a row that has the columns of `segmentations`."""
    return SegmentationFile(
        segments=tuple(SegmentKind(kind) for kind in row.segments),
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        path=Path(row.path),
        sha256=row.sha256,
        pixel_sha256=row.pixel_sha256,
    )


def _is(delivery_id: int) -> sa.ColumnElement[bool]:
    return deliveries.c.id == delivery_id


def _select() -> sa.Select[Any]:
    return (
        sa.select(
            deliveries,
            volumes.c.examination_id,
            segmentations.c.segments,
            segmentations.c.sop_instance_uid,
            segmentations.c.series_instance_uid,
            segmentations.c.path,
            segmentations.c.sha256,
            segmentations.c.pixel_sha256,
            series.c.study_instance_uid,
            series.c.series_instance_uid.label("examined_series_instance_uid"),
        )
        .join(segmentations, segmentations.c.id == deliveries.c.segmentation_id)
        .join(volumes, volumes.c.id == segmentations.c.volume_id)
        .join(examinations, examinations.c.id == volumes.c.examination_id)
        .join(series, series.c.id == examinations.c.series_id)
    )


def _delivery(row: sa.Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        examination_id=row.examination_id,
        study_instance_uid=row.study_instance_uid,
        examined_series_instance_uid=row.examined_series_instance_uid,
        segmentation=segmentation_file(row),
        destination=row.destination,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        last_error=row.last_error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        next_attempt_at=row.next_attempt_at,
        stored_at=row.stored_at,
    )
