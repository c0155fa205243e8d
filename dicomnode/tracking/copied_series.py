"""The series of a copy without faces: of which series each is the copy, and what its proof said.

The rows are there before the objects of the series: the gate knows of every objection before it
could let one of them pass. They outlive the original.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from dicomnode.domain import CopyState, CopyWay, DefacingProof, Picture, SeriesCopy, VolumeCopy
from dicomnode.tracking import study_copies as copies
from dicomnode.tracking.schema import series, series_copies, study_copies
from dicomnode.tracking.study_copies import LeftOut

_PROOF = TypeAdapter(DefacingProof)
_PICTURES = TypeAdapter(tuple[Picture, ...])


@dataclass(frozen=True)
class CopyOrigin:
    """Of which series a series is the copy, and what the proof said; `state` is that of the copy
    of its study, `project` that by whose settings its headers are de-identified, if they are."""

    study_instance_uid: str
    series_instance_uid: str
    label: str
    way: CopyWay
    copy_study_instance_uid: str
    copy_series_instance_uid: str
    images: int
    state: CopyState
    objections: tuple[str, ...]
    proof: DefacingProof | None
    pictures: tuple[Picture, ...]
    project: str = ""


def record(
    c: sa.Connection, copy_id: int, made: Iterable[SeriesCopy], left_out: Sequence[LeftOut]
) -> None:
    """What was made, before any of it is received; may be repeated."""
    c.execute(series_copies.delete().where(series_copies.c.study_copy_id == copy_id))
    rows = [
        _volume_row(copy_id, copy.series_instance_uid, volume)
        for copy in made
        for volume in copy.volumes
    ]
    if rows:
        c.execute(series_copies.insert(), rows)
    copies.note_left_out(c, copy_id, left_out)


def origins(c: sa.Connection, series_instance_uids: Collection[str]) -> Mapping[str, CopyOrigin]:
    """Of those series that are copies, by their own UID."""
    found = _origins(c, series_copies.c.series_instance_uid.in_(series_instance_uids))
    return {one.copy_series_instance_uid: one for one in found}


def copies_of_series(c: sa.Connection, series_instance_uid: str) -> Sequence[CopyOrigin]:
    """The copies of a series, newest first."""
    return _origins(c, series_copies.c.source_series_instance_uid == series_instance_uid)


def series_of(c: sa.Connection, copy_id: int) -> Sequence[CopyOrigin]:
    """All series of a copy."""
    return _origins(c, series_copies.c.study_copy_id == copy_id)


def picture_of(c: sa.Connection, series_instance_uid: str, index: int) -> Picture | None:
    """0: before, 1: after; None: there is no such picture."""
    r = series_copies.c
    query = sa.select(r.pictures).where(r.series_instance_uid == series_instance_uid)
    found = _PICTURES.validate_python(c.scalar(query) or ())
    return found[index] if 0 <= index < len(found) else None


def is_copy() -> sa.ColumnElement[bool]:
    """Whether the row of `series` is a series of a copy."""
    return sa.exists().where(series_copies.c.series_instance_uid == series.c.series_instance_uid)


def _origins(c: sa.Connection, condition: sa.ColumnElement[bool]) -> list[CopyOrigin]:
    s, r = study_copies.c, series_copies.c
    query = (
        sa.select(
            series_copies, s.study_instance_uid, s.copy_study_instance_uid, s.state, s.project
        )
        .join(study_copies, s.id == r.study_copy_id)
        .where(condition)
        .order_by(s.id.desc(), r.id)
    )
    return [_origin(row) for row in c.execute(query)]


def _origin(row: sa.Row[Any]) -> CopyOrigin:
    return CopyOrigin(
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.source_series_instance_uid,
        label=row.label,
        way=CopyWay(row.way),
        copy_study_instance_uid=row.copy_study_instance_uid,
        copy_series_instance_uid=row.series_instance_uid,
        images=row.images,
        state=CopyState(row.state),
        objections=tuple(row.objections),
        proof=None if row.proof is None else _PROOF.validate_python(row.proof),
        pictures=_PICTURES.validate_python(row.pictures),
        project=row.project,
    )


def _volume_row(copy_id: int, source: str, volume: VolumeCopy) -> dict[str, Any]:
    proof = volume.proof
    return {
        "study_copy_id": copy_id,
        "source_series_instance_uid": source,
        "label": volume.label,
        "way": volume.way.value,
        "series_instance_uid": volume.series_instance_uid,
        "images": volume.images,
        "objections": [] if proof is None else list(proof.objections),
        "proof": sa.null() if proof is None else _PROOF.dump_python(proof, mode="json"),
        "pictures": _PICTURES.dump_python(volume.pictures, mode="json"),
    }
