"""Receipts of the gate as they were signed, and the digests of the instances that they name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.audit_chain import START
from dicomnode.tracking.schema import instances, receipts, series


@dataclass(frozen=True)
class ListedReceipt:
    number: int
    study_instance_uid: str
    at: datetime
    project: str
    outcome: str
    key_id: str
    sha256: str


@dataclass(frozen=True)
class StoredReceipt(ListedReceipt):
    """With what was signed: some 400 bytes for each instance, so no list holds it."""

    document: str


@dataclass(frozen=True)
class InstanceDigests:
    sop_instance_uid: str
    transfer_syntax_uid: str
    file_sha256: str
    pixel_sha256: str
    data_set_sha256: str
    first_revision: int


def last(c: sa.Connection) -> tuple[int, str]:
    """Number and SHA-256 of the last receipt; the caller holds the lock of the audit log."""
    query = sa.select(receipts.c.number, receipts.c.sha256).order_by(receipts.c.number.desc())
    row = c.execute(query.limit(1)).first()
    return (0, START) if row is None else (row.number, row.sha256)


def add(c: sa.Connection, receipt: StoredReceipt) -> None:
    c.execute(receipts.insert().values(asdict(receipt)))


def newest(
    c: sa.Connection,
    limit: int = 100,
    study_instance_uid: str | None = None,
    project: str | None = None,
    before: int | None = None,
) -> list[StoredReceipt]:
    """Newest first; `before` is the number of the last one of the page before."""
    query = _newest(sa.select(receipts), limit, study_instance_uid, project, before)
    return [StoredReceipt(**row._mapping) for row in c.execute(query)]


def listed(
    c: sa.Connection,
    limit: int = 100,
    study_instance_uid: str | None = None,
    before: int | None = None,
) -> list[ListedReceipt]:
    """As `newest`, without reading a document."""
    columns = [receipts.c[each.name] for each in fields(ListedReceipt)]
    query = _newest(sa.select(*columns), limit, study_instance_uid, None, before)
    return [ListedReceipt(**row._mapping) for row in c.execute(query)]


def _newest(
    query: sa.Select[Any],
    limit: int,
    study_instance_uid: str | None,
    project: str | None,
    before: int | None,
) -> sa.Select[Any]:
    query = query.order_by(receipts.c.number.desc()).limit(limit)
    if study_instance_uid is not None:
        query = query.where(receipts.c.study_instance_uid == study_instance_uid)
    if project is not None:
        query = query.where(receipts.c.project == project)
    return query if before is None else query.where(receipts.c.number < before)


def one(c: sa.Connection, number: int) -> StoredReceipt | None:
    row = c.execute(sa.select(receipts).where(receipts.c.number == number)).one_or_none()
    return None if row is None else StoredReceipt(**row._mapping)


def instances_of(
    c: sa.Connection, study_instance_uid: str
) -> Mapping[str, Sequence[InstanceDigests]]:
    """Those that a revision holds, by Series Instance UID, in the order of their UIDs."""
    i = instances.c
    query = (
        sa.select(
            series.c.series_instance_uid,
            i.sop_instance_uid,
            i.transfer_syntax_uid,
            i.file_sha256,
            i.pixel_sha256,
            i.data_set_sha256,
            i.first_revision,
        )
        .join(series, series.c.id == i.series_id)
        .where(
            series.c.study_instance_uid == study_instance_uid,
            i.first_revision.is_not(None),
        )
        .order_by(i.sop_instance_uid)
    )
    found: dict[str, list[InstanceDigests]] = defaultdict(list)
    for row in c.execute(query):
        found[row.series_instance_uid].append(InstanceDigests(*row[1:]))
    return found
