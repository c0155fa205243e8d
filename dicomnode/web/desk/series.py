"""One series: pictures, evidence, and what a person decides of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from dicomnode.errors import DecisionError
from dicomnode.tracking import decisions, study_copies
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.findings import SeriesFinding, verdicts_of_study
from dicomnode.tracking.status import OUTDATED, STATE_SENTENCES
from dicomnode.web.desk import copies, facts, series_view, templating
from dicomnode.web.desk.access import Decider, Fields, ListReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.desk.neighbours import neighbours, series_href
from dicomnode.web.desk.series_view import Given, SeriesPage
from dicomnode.web.identity import Principal
from dicomnode.web.refused import RequestRefusedError

ROUTER = APIRouter()
NOTHING_GIVEN = Given()


@ROUTER.get("/studies/{study_uid}/series/{series_uid}")
def series(
    request: Request,
    desk: DeskOf,
    principal: ListReader,
    study_uid: str,
    series_uid: str,
    volume: Annotated[int, Query(ge=1)] = 1,
) -> Response:
    page = _page(desk, principal, study_uid, series_uid, first=volume)
    return desk.page(request, principal, "series.html", page)


@ROUTER.post("/studies/{study_uid}/series/{series_uid}/decisions")
def decide(
    request: Request,
    desk: DeskOf,
    principal: Decider,
    fields: Fields,
    study_uid: str,
    series_uid: str,
) -> Response:
    """A page that is stale, or a form that lacks what was seen, is refused: nothing is recorded."""
    finding = _finding(desk, study_uid, series_uid)
    try:
        kind = _record(desk, principal, series_uid, fields)
    except DecisionError as error:
        given = Given(fields.get("note", ""), "then" in fields)
        page = _page(desk, principal, study_uid, series_uid, given=given, error=str(error))
        return desk.page(request, principal, "series.html", page, HTTPStatus.CONFLICT)
    there = _then(desk, finding, kind, is_next_wanted=fields.get("then") == "next")
    return RedirectResponse(there, HTTPStatus.SEE_OTHER)


def _record(desk: Desk, principal: Principal, series_uid: str, fields: Fields) -> DecisionKind:
    try:
        kind, seen = DecisionKind(fields.get("decision", "")), int(fields.get("examination", ""))
    except ValueError:
        raise DecisionError("the form does not say what you saw, or what you decided") from None
    with desk.database.begin() as connection:
        decisions.record(
            connection,
            series_uid,
            kind,
            account=principal.account.name,
            note=fields.get("note", ""),
            seen_examination_id=seen,
        )
    return kind


def _then(desk: Desk, finding: SeriesFinding, kind: DecisionKind, *, is_next_wanted: bool) -> str:
    """The page that comes after a decision."""
    here = series_href(finding.study_instance_uid, finding.series_instance_uid)
    if kind is DecisionKind.REVOKED:
        return f"{here}?told=revoked"
    if not is_next_wanted:
        return f"{here}?told=decided"
    with desk.database.read() as connection:
        beside = neighbours(connection, desk, finding.examination_id or 0)
    return f"{beside.next_href}?told=decided" if beside.next_href else "/desk/queue?told=last"


def _page(
    desk: Desk,
    principal: Principal,
    study_uid: str,
    series_uid: str,
    *,
    first: int = 1,
    given: Given = NOTHING_GIVEN,
    error: str = "",
) -> SeriesPage:
    finding = _finding(desk, study_uid, series_uid)
    with desk.database.read() as connection:
        history = decisions.history(connection, series_uid)
        beside = neighbours(connection, desk, finding.examination_id or 0)
        made = study_copies.copies_of_series(connection, series_uid)
    href, role = series_href(study_uid, series_uid), principal.role
    outdated = OUTDATED if finding.is_outdated(desk.wanted) else ""
    counts = finding.verdict is not None and not finding.has_newer_instances
    return SeriesPage(
        study_uid=study_uid,
        series_uid=series_uid,
        modality=finding.modality,
        instances=templating.count(finding.instance_count, "instance"),
        state=finding.state,
        state_sentence=STATE_SENTENCES[finding.state],
        verdict=finding.verdict.kind if finding.verdict and counts else "",
        warnings=series_view.warnings(finding, outdated),
        volumes=series_view.shown_volumes(finding, first, role),
        more_volumes=series_view.more_volumes(finding, first, href),
        refusals=finding.refusals,
        thresholds=facts.thresholds(desk.settings.verdict),
        history=series_view.said(history, finding),
        form=series_view.decision_form(finding, principal.account.name, role, given),
        beside=beside,
        copy=copies.proven(finding, role),
        copies=made,
        ohif_url=desk.ohif_url(study_uid),
        error=error,
    )


def _finding(desk: Desk, study_uid: str, series_uid: str) -> SeriesFinding:
    with desk.database.read() as connection:
        found = verdicts_of_study(connection, study_uid)
    for finding in found:
        if finding.series_instance_uid == series_uid and finding.instance_count:
            return finding
    raise RequestRefusedError(HTTPStatus.NOT_FOUND, "this series was not received")
