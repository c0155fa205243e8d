"""Objects that were not accepted: the bytes are in the spool's quarantine, the reason is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import quarantine


@dataclass(frozen=True)
class QuarantinedObject:
    """`name` is the file's name in the quarantine; UIDs are empty where they are none."""

    at: datetime
    name: str
    reason: str
    sentence: str
    size_bytes: int
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    calling_ae_title: str = ""
    peer_address: str = ""


def add(c: sa.Connection, objects: Sequence[QuarantinedObject]) -> None:
    insert_missing(c, quarantine, [asdict(quarantined) for quarantined in objects])


def missing(c: sa.Connection, names: Sequence[str]) -> list[str]:
    """Those of the quarantine's `names` that have no row."""
    return [name for name in names if not _has_row(c, name)]


def newest(c: sa.Connection, limit: int = 100) -> list[QuarantinedObject]:
    columns = [column for column in quarantine.c if column.name != "id"]
    query = sa.select(*columns).order_by(quarantine.c.id.desc()).limit(limit)
    return [QuarantinedObject(**row) for row in c.execute(query).mappings()]


def _has_row(c: sa.Connection, name: str) -> bool:
    return c.scalar(sa.select(quarantine.c.id).where(quarantine.c.name == name)) is not None
