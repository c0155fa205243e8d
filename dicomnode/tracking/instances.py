"""Rows for received instances, and the studies and series that they make up.

Every function may be repeated with the same input and then changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import InstanceHeader, StoredInstance
from dicomnode.tracking import study_summaries
from dicomnode.tracking.database import Database, insert_missing
from dicomnode.tracking.schema import association_series, instances, series, studies

_CHUNK = 400  # SQLite takes a bounded number of parameters per statement
SeriesKey = tuple[str, str]


@dataclass(frozen=True)
class RepeatedInstance:
    """An instance that came again, byte for byte: its sender is still at work on the series."""

    header: InstanceHeader
    association_id: str
    at: datetime


@dataclass(frozen=True)
class KnownFile:
    """A received instance as a file; `name` is the spool's, the digest is over the whole of it."""

    study_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    name: str
    file_sha256: str
    removed_at: datetime | None = None


def add(c: sa.Connection, stored: Sequence[StoredInstance]) -> int:
    """Add the instances that have no row yet, with their series and studies; returns how many.

    Series rows are locked in one order, so two receivers never wait for each other in a circle.
    """
    stored_by_uid = {instance.header.sop_instance_uid: instance for instance in stored}
    known = _known(c, list(stored_by_uid))
    new = {uid: instance for uid, instance in stored_by_uid.items() if uid not in known}
    by_series: dict[SeriesKey, list[StoredInstance]] = {}
    for instance in new.values():
        by_series.setdefault(_key(instance.header), []).append(instance)
    for key, members in sorted(by_series.items()):
        _add_to_series(c, key, members)
    _bring_back(c, [uid for uid in known if not stored_by_uid[uid].was_there])
    # A rebuild may have been here first; who sent them is still to be noted.
    repeat(c, [_again(i) for i in stored if i.header.sop_instance_uid in known])
    return len(new)


def repeat(c: sa.Connection, repeated: Sequence[RepeatedInstance]) -> None:
    """Note that an open association is still sending to a series: it isn't quiet."""
    latest: dict[tuple[SeriesKey, str], datetime] = {}
    for instance in repeated:
        slot = (_key(instance.header), instance.association_id)
        latest[slot] = max(instance.at, latest.get(slot, instance.at))
    for (key, association_id), at in sorted(latest.items()):
        row = c.execute(_select_series(key)).one_or_none()
        if row is not None:
            _touch(c, row.id, {association_id}, at)
            study_summaries.touch(c, row.id)


def expect(
    c: sa.Connection, header: InstanceHeader, at: datetime, association_id: str = ""
) -> None:
    """Note that an instance of this series exists, sent over this association, before its row.

    A series that has no instance yet gets its row too, so its study is held.
    """
    series_id = _ensure_series(c, _key(header), header.modality, at)
    if association_id:
        link = {"series_id": series_id, "association_id": association_id}
        insert_missing(c, association_series, [link])


def missing(c: sa.Connection, names: Sequence[str]) -> list[str]:
    """Those of the spool's `names` that have no row, or one that says that they are gone."""
    found: set[str] = set()
    here = sa.select(instances.c.name).where(instances.c.removed_at.is_(None))
    for chunk in _chunks(names):
        found.update(c.scalars(here.where(instances.c.name.in_(chunk))))
    return [name for name in names if name not in found]


def known_files(c: sa.Connection, uids: Sequence[str]) -> Mapping[str, KnownFile]:
    """Those of the SOP Instance UIDs that were received, with the study that they count in."""
    i = instances.c
    columns = (i.sop_class_uid, i.transfer_syntax_uid, i.name, i.file_sha256, i.removed_at)
    query = sa.select(i.sop_instance_uid, series.c.study_instance_uid, *columns).join(series)
    found: dict[str, KnownFile] = {}
    for chunk in _chunks(uids):
        for uid, *values in c.execute(query.where(i.sop_instance_uid.in_(chunk))).tuples():
            found[uid] = KnownFile(*values)
    return found


def pages_of_series(
    database: Database, study_instance_uid: str, series_instance_uid: str
) -> Iterator[list[tuple[str, str]]]:
    """SOP Class and SOP Instance UIDs, a page and a transaction at a time."""
    i, last = instances.c, 0
    key = (study_instance_uid, series_instance_uid)
    in_series = i.series_id == _select_series(key).scalar_subquery()
    while True:
        query = sa.select(i.id, i.sop_class_uid, i.sop_instance_uid).where(in_series, i.id > last)
        with database.read() as connection:
            page = connection.execute(query.order_by(i.id).limit(_CHUNK)).all()
        if not page:
            return
        yield [(row.sop_class_uid, row.sop_instance_uid) for row in page]
        last = page[-1].id


def _bring_back(c: sa.Connection, uids: Sequence[str]) -> None:
    """Their files were stored anew: of those that were removed, what was found counts as before."""
    i, back = instances.c, sa.null()
    for chunk in _chunks(uids):
        removed = sa.and_(i.sop_instance_uid.in_(chunk), i.removed_at.is_not(None))
        for series_id in sorted(set(c.scalars(sa.select(i.series_id).where(removed)))):
            c.execute(sa.select(series.c.id).where(series.c.id == series_id).with_for_update())
            of_it = sa.and_(removed, i.series_id == series_id)
            count = c.execute(instances.update().where(of_it).values(removed_at=back)).rowcount
            left = series.c.removed_count - count
            at = sa.case((left <= 0, back), else_=series.c.removed_at)
            values = {"removed_count": left, "removed_at": at}
            c.execute(series.update().where(series.c.id == series_id).values(values))


def _known(c: sa.Connection, uids: Sequence[str]) -> set[str]:
    known: set[str] = set()
    column = instances.c.sop_instance_uid
    for chunk in _chunks(uids):
        known.update(c.scalars(sa.select(column).where(column.in_(chunk))))
    return known


def _add_to_series(c: sa.Connection, key: SeriesKey, members: Sequence[StoredInstance]) -> None:
    first = min(instance.received_at for instance in members)
    last = max(instance.received_at for instance in members)
    series_id = _ensure_series(c, key, members[0].header.modality, first)
    # Between the first look and the lock another process may have added some of them.
    known = _known(c, [instance.header.sop_instance_uid for instance in members])
    rows = [_row(m, series_id) for m in members if m.header.sop_instance_uid not in known]
    if rows:
        c.execute(instances.insert(), rows)
    c.execute(
        series.update()
        .where(series.c.id == series_id)
        .values(instance_count=series.c.instance_count + len(rows))
    )
    _touch(c, series_id, {instance.association_id for instance in members}, last)


def _ensure_series(c: sa.Connection, key: SeriesKey, modality: str, first: datetime) -> int:
    """The series' id; its row is locked until the end of the transaction."""
    insert_missing(c, studies, [{"study_instance_uid": key[0], "first_received_at": first}])
    insert_missing(c, series, [_series_row(key, modality, first)])
    series_id = int(c.execute(_select_series(key).with_for_update()).one().id)
    study_summaries.touch(c, series_id)
    return series_id


def _series_row(key: SeriesKey, modality: str, at: datetime) -> Mapping[str, Any]:
    return {
        "study_instance_uid": key[0],
        "series_instance_uid": key[1],
        "modality": modality,
        "first_received_at": at,
        "last_received_at": at,
        "instance_count": 0,
        "revised_count": 0,
    }


def _touch(c: sa.Connection, series_id: int, association_ids: Iterable[str], at: datetime) -> None:
    c.execute(
        series.update()
        .where(series.c.id == series_id, series.c.last_received_at < at)
        .values(last_received_at=at)
    )
    rows = [{"series_id": series_id, "association_id": a} for a in association_ids if a]
    insert_missing(c, association_series, rows)


def _select_series(key: SeriesKey) -> sa.Select[tuple[int]]:
    study_uid, series_uid = key
    return sa.select(series.c.id).where(
        series.c.study_instance_uid == study_uid, series.c.series_instance_uid == series_uid
    )


def _row(instance: StoredInstance, series_id: int) -> Mapping[str, Any]:
    hints = instance.header.hints
    return {
        "series_id": series_id,
        "sop_instance_uid": instance.header.sop_instance_uid,
        "sop_class_uid": instance.header.sop_class_uid,
        "transfer_syntax_uid": instance.header.transfer_syntax_uid,
        "name": instance.name,
        "size_bytes": instance.size_bytes,
        "file_sha256": instance.file_sha256,
        "pixel_sha256": instance.pixel_sha256,
        "data_set_sha256": instance.data_set_sha256,
        "received_at": instance.received_at,
        "calling_ae_title": instance.calling_ae_title,
        "called_ae_title": instance.called_ae_title,
        "peer_address": instance.peer_address,
        "association_id": instance.association_id,
        "acquisition_number": hints.acquisition_number,
        "images_in_acquisition": hints.images_in_acquisition,
        "number_of_frames": hints.number_of_frames,
        "concatenation_uid": hints.concatenation_uid,
        "in_concatenation_total": hints.in_concatenation_total,
    }


def _again(instance: StoredInstance) -> RepeatedInstance:
    return RepeatedInstance(instance.header, instance.association_id, instance.received_at)


def _key(header: InstanceHeader) -> SeriesKey:
    return header.study_instance_uid, header.series_instance_uid


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
