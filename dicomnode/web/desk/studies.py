"""The list of studies: filters, a search by UID, and what the gate says of each for a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from dicomnode.config_policy import DEFAULT_PROJECT
from dicomnode.domain import GateDecision, VerdictKind
from dicomnode.gate.policy import policy_of
from dicomnode.gate.studies import decide_studies
from dicomnode.tracking import study_list
from dicomnode.tracking.states import SeriesState
from dicomnode.tracking.study_list import StudyFilter, StudyRow
from dicomnode.web.desk import words
from dicomnode.web.desk.access import ListReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.refused import RequestRefusedError

ROUTER = APIRouter()
_DECIDED = {"": None, "yes": True, "no": False}
Text = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True)
class Asked:
    """The fields of the form, as they stand in the address."""

    q: str
    verdict: str
    state: str
    modality: str
    received_from: str
    received_until: str
    decided: str
    project: str


@dataclass(frozen=True)
class ListedStudy:
    row: StudyRow
    decision: GateDecision


@dataclass(frozen=True)
class StudiesPage:
    asked: Asked
    count: str
    studies: Sequence[ListedStudy]
    older_href: str
    projects: Sequence[str]
    verdicts: Sequence[tuple[str, str]]
    states: Sequence[tuple[str, str]]


@ROUTER.get("/studies")
def studies(
    request: Request,
    desk: DeskOf,
    principal: ListReader,
    q: Text = "",
    verdict: Text = "",
    state: Text = "",
    modality: Text = "",
    received_from: Text = "",
    received_until: Text = "",
    decided: Text = "",
    project: Text = DEFAULT_PROJECT,
    after: Annotated[str, Query(max_length=128)] = "",
) -> Response:
    asked = Asked(
        q.strip(), verdict, state, modality, received_from, received_until, decided, project
    )
    return desk.page(request, principal, "studies.html", _page(desk, asked, after))


def _page(desk: Desk, asked: Asked, after: str) -> StudiesPage:
    rows, next_place, count = _found(desk, asked, after)
    uids = [row.study_instance_uid for row in rows]
    policy = policy_of(desk.settings, asked.project)
    decisions = decide_studies(desk.database, uids, policy, desk.wanted)
    return StudiesPage(
        asked=asked,
        count=count,
        studies=tuple(map(ListedStudy, rows, decisions)),
        older_href=f"/desk/studies?{_query(asked, next_place)}" if next_place else "",
        projects=desk.projects,
        verdicts=[(code, badge.label) for code, badge in words.VERDICTS.items()],
        states=[(code, badge.label) for code, badge in words.STATES.items()],
    )


def _found(desk: Desk, asked: Asked, after: str) -> tuple[Sequence[StudyRow], str, str]:
    """The studies of the page, where the next one begins, and how many there are."""
    with desk.database.read() as connection:
        if asked.q:
            found = study_list.search(connection, asked.q)
            return found, "", str(len(found))
        try:
            wanted = _filter(asked)
            page = study_list.page(connection, wanted, after)
        except ValueError:
            sentence = "no study can be found by such a filter"
            raise RequestRefusedError(HTTPStatus.BAD_REQUEST, sentence) from None
        return page.rows, page.next_place, str(study_list.count(connection, wanted))


def _filter(asked: Asked) -> StudyFilter:
    """Raises `ValueError` for what the form can't send."""
    until = _day(asked.received_until)
    return StudyFilter(
        verdict=VerdictKind(asked.verdict) if asked.verdict else "",
        state=SeriesState(asked.state) if asked.state else None,
        modality=asked.modality.strip().upper(),
        received_from=_day(asked.received_from),
        received_until=until + timedelta(days=1) if until else None,
        decided=_DECIDED.get(asked.decided),
    )


def _day(given: str) -> datetime | None:
    day = date.fromisoformat(given) if given else None
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None


def _query(asked: Asked, after: str) -> str:
    fields: Mapping[str, str] = vars(asked)
    given = {name: value for name, value in fields.items() if value}
    return urlencode({**given, "after": after})
