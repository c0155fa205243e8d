"""Objects that were not accepted: the bytes are in the spool's quarantine, the reason is here.

One that says where it belongs holds that series and its study: what was sent isn't all here. It
stops doing so when an instance with its SOP Instance UID is stored in that series. A conflict, an
other object under the UID of a stored instance, holds both the series of that instance and the one
that it names, until a person has looked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from dicomnode.domain import InstanceHeader
from dicomnode.tracking import instances
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import quarantine

CONFLICT = "conflict"
DAMAGED = "damaged"
_UIDS = ("sop_instance_uid", "series_instance_uid", "study_instance_uid")


@dataclass(frozen=True)
class QuarantinedObject:
    """`name` is the file's name in the quarantine; UIDs are empty where they are none.

    A damaged object of the spool (`DAMAGED`) stays where it is and has the name `objects/...`. One
    that could not be written has no file, and 0 bytes.
    """

    at: datetime
    name: str
    reason: str
    sentence: str
    size_bytes: int
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    modality: str = ""
    calling_ae_title: str = ""
    peer_address: str = ""


def add(c: sa.Connection, objects: Sequence[QuarantinedObject]) -> None:
    """Add rows; one that is there already gets the UIDs if it has none."""
    insert_missing(c, quarantine, [_row(quarantined) for quarantined in objects])
    for quarantined in objects:
        uids = {name: getattr(quarantined, name) for name in _UIDS}
        if any(uids.values()):
            unnamed = [quarantine.c[name] == "" for name in _UIDS]
            known = quarantine.c.name == quarantined.name
            c.execute(quarantine.update().where(known, *unnamed).values(**uids))
        if quarantined.study_instance_uid and quarantined.series_instance_uid:
            instances.expect(c, _header(quarantined), quarantined.at)


def missing(c: sa.Connection, names: Sequence[str]) -> list[str]:
    """Those of the quarantine's `names` that have no row."""
    return [name for name in names if not _has_row(c, name)]


def newest(c: sa.Connection, limit: int = 100) -> list[QuarantinedObject]:
    query = (
        sa.select(*(quarantine.c[name] for name in _COLUMNS))
        .order_by(quarantine.c.id.desc())
        .limit(limit)
    )
    return [QuarantinedObject(**row) for row in c.execute(query).mappings()]


_COLUMNS = [field.name for field in fields(QuarantinedObject) if field.name != "modality"]


def _row(quarantined: QuarantinedObject) -> dict[str, object]:
    return {name: getattr(quarantined, name) for name in _COLUMNS}


def _header(quarantined: QuarantinedObject) -> InstanceHeader:
    return InstanceHeader(
        sop_class_uid="",
        sop_instance_uid=quarantined.sop_instance_uid,
        study_instance_uid=quarantined.study_instance_uid,
        series_instance_uid=quarantined.series_instance_uid,
        transfer_syntax_uid="",
        modality=quarantined.modality,
    )


def _has_row(c: sa.Connection, name: str) -> bool:
    return c.scalar(sa.select(quarantine.c.id).where(quarantine.c.name == name)) is not None
