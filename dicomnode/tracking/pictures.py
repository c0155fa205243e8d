"""One picture of an examined volume, by the numbers of its row."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.domain import Picture
from dicomnode.tracking.examinations import PICTURES
from dicomnode.tracking.schema import volumes


def picture_of(
    c: sa.Connection, examination_id: int, volume_number: int, index: int
) -> Picture | None:
    """The picture number `index`, from 0, of a volume of an examination; None: there is none."""
    v = volumes.c
    query = sa.select(v.pictures).where(
        v.examination_id == examination_id, v.number == volume_number
    )
    found = PICTURES.validate_python(c.scalar(query) or ())
    return found[index] if 0 <= index < len(found) else None
