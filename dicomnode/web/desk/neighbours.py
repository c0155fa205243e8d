"""Which series wait for a person, and which comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from dicomnode.config import Settings
from dicomnode.domain import RefusalCode, VerdictKind
from dicomnode.gate.policy import policy_of
from dicomnode.tracking import reviews
from dicomnode.tracking.reviews import ReviewFilter, ReviewItem

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicomnode.web.desk.desk import Desk


@dataclass(frozen=True)
class Neighbours:
    """Addresses of pages; empty where there is none."""

    previous_href: str
    next_href: str


def asked_by_policies(settings: Settings, projects: tuple[str, ...]) -> ReviewFilter | None:
    """What any project wants a person for, by the most careful of them; None: none wants any."""
    rules = [policy_of(settings, project).rules for project in projects]
    asking = [each for each in rules if each.review_verdicts or each.review_refusals]
    if not asking:
        return None
    verdicts = {kind for each in asking for kind in each.review_verdicts}
    codes = {code for each in asking for code in each.review_refusals}
    return ReviewFilter(
        kinds=tuple(kind for kind in VerdictKind if kind in verdicts),
        codes=tuple(code for code in RefusalCode if code in codes),
        persons=max(each.persons_needed for each in asking),
    )


def review_filter(desk: Desk) -> ReviewFilter:
    """Where no policy wants a person, doubtful verdicts: somebody should look at them."""
    asked = asked_by_policies(desk.settings, desk.projects)
    return asked or ReviewFilter(codes=())


def neighbours(connection: Connection, desk: Desk, examination_id: int) -> Neighbours:
    """Of a series by its examination, which need not wait itself."""
    wanted = review_filter(desk)
    before = reviews.previous_for_review(connection, examination_id, wanted)
    after = reviews.next_for_review(connection, examination_id, wanted)
    return Neighbours(_href(before), _href(after))


def first(connection: Connection, desk: Desk) -> str:
    """The one that waits longest; empty where none does."""
    return _href(reviews.next_for_review(connection, 0, review_filter(desk)))


def series_href(study_uid: str, series_uid: str) -> str:
    """The page of a series."""
    return f"/desk/studies/{quote(study_uid, safe='')}/series/{quote(series_uid, safe='')}"


def _href(item: ReviewItem | None) -> str:
    return series_href(item.study_instance_uid, item.series_instance_uid) if item else ""
