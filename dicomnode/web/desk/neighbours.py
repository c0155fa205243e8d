"""Which series wait for a person, and which comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from dicomnode.gate.asking import review_filter
from dicomnode.tracking import reviews
from dicomnode.tracking.reviews import ReviewItem

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicomnode.web.desk.desk import Desk


@dataclass(frozen=True)
class Neighbours:
    """Addresses of pages; empty where there is none."""

    previous_href: str
    next_href: str


def neighbours(connection: Connection, desk: Desk, examination_id: int) -> Neighbours:
    """Of a series by its examination, which need not wait itself."""
    wanted = review_filter(desk.settings)
    before = reviews.previous_for_review(connection, examination_id, wanted)
    after = reviews.next_for_review(connection, examination_id, wanted)
    return Neighbours(_href(before), _href(after))


def first(connection: Connection, desk: Desk) -> str:
    """The one that waits longest; empty where none does."""
    return _href(reviews.next_for_review(connection, 0, review_filter(desk.settings)))


def series_href(study_uid: str, series_uid: str) -> str:
    """The page of a series."""
    return f"/desk/studies/{quote(study_uid, safe='')}/series/{quote(series_uid, safe='')}"


def _href(item: ReviewItem | None) -> str:
    return series_href(item.study_instance_uid, item.series_instance_uid) if item else ""
