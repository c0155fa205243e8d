"""All studies that were ever received, page by page."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import studies

_PAGE = 200


def pages(database: Database, after: str = "") -> Iterator[list[str]]:
    """Study Instance UIDs in their order, behind `after`: a transaction, and a list, a page."""
    uid = studies.c.study_instance_uid
    while True:
        with database.read() as connection:
            query = sa.select(uid).where(uid > after).order_by(uid).limit(_PAGE)
            page = list(connection.scalars(query))
        if not page:
            return
        yield page
        after = page[-1]
