"""One study: what the gate says of it for a project, its series, and its receipts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from dicomnode.config_policy import DEFAULT_PROJECT
from dicomnode.domain import GateDecision, GateOutcome
from dicomnode.errors import DefacingError, GateError, ReceiptError
from dicomnode.gate.copies import ask_for_copy
from dicomnode.gate.policy import policy_of
from dicomnode.gate.receipt import Person
from dicomnode.tracking.receipts import ListedReceipt, listed
from dicomnode.tracking.status import SeriesStatus, study_status
from dicomnode.tracking.timeline import timeline
from dicomnode.web.desk import copies
from dicomnode.web.desk.access import Defacer, Fields, ListReader, NameReader, Releaser
from dicomnode.web.desk.copies import StudyCopies
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.desk.patients import ShownPatient, show_patient
from dicomnode.web.desk.release import NO_KEY, Asked, ask, release
from dicomnode.web.desk.steps import Step, steps
from dicomnode.web.identity import Principal
from dicomnode.web.permissions import Permission, may
from dicomnode.web.refused import RequestRefusedError

ROUTER = APIRouter()


@dataclass(frozen=True)
class ReleaseOffer:
    """The form that issues a receipt, or a sentence that says why there is none."""

    may: bool
    seen: str
    why_not: str


@dataclass(frozen=True)
class StudyPage:
    """`receipts` is None where the account may not see them."""

    study_uid: str
    href: str
    project: str
    projects: tuple[str, ...]
    decision: GateDecision
    verdict: str
    series: Sequence[SeriesStatus]
    timeline: Sequence[Step]
    receipts: Sequence[ListedReceipt] | None
    release: ReleaseOffer
    copies: StudyCopies
    ohif_url: str
    may_see_names: bool
    patient: ShownPatient | None
    error: str
    refused: str


@ROUTER.get("/studies/{study_uid}")
def study(
    request: Request,
    desk: DeskOf,
    principal: ListReader,
    study_uid: str,
    project: str = DEFAULT_PROJECT,
) -> Response:
    page = _page(desk, principal, study_uid, project)
    return desk.page(request, principal, "study.html", page)


@ROUTER.post("/studies/{study_uid}/receipts")
def issue_receipt(
    request: Request, desk: DeskOf, principal: Releaser, fields: Fields, study_uid: str
) -> Response:
    project = fields.get("project", "")
    person = Person(principal.account.name, fields.get("note", "").strip())
    policy = policy_of(desk.settings, project)
    try:
        signed = release(desk, study_uid, policy, person, fields.get("seen", ""))
    except (GateError, ReceiptError) as error:
        page = _page(desk, principal, study_uid, project, error=str(error))
        return desk.page(request, principal, "study.html", page, HTTPStatus.CONFLICT)
    there = f"/desk/receipts/{signed.receipt.number}?told=receipt"
    return RedirectResponse(there, HTTPStatus.SEE_OTHER)


@ROUTER.post("/studies/{study_uid}/copies")
def ask_copy(
    request: Request, desk: DeskOf, principal: Defacer, fields: Fields, study_uid: str
) -> Response:
    """The working process makes it; asked twice there is one."""
    by, digest = principal.account.name, desk.examiner.now().digest
    project = fields.get("project", DEFAULT_PROJECT)
    try:
        with desk.database.begin() as connection:
            ask_for_copy(connection, study_uid, desk.settings, digest, project, by=by)
    except DefacingError as error:
        refused = "No copy is made."
        page = _page(desk, principal, study_uid, project, error=str(error), refused=refused)
        return desk.page(request, principal, "study.html", page, HTTPStatus.CONFLICT)
    query = urlencode({"told": "copy", "project": project})
    there = f"/desk/studies/{quote(study_uid, safe='')}?{query}"
    return RedirectResponse(there, HTTPStatus.SEE_OTHER)


@ROUTER.post("/studies/{study_uid}/patient")
def patient(request: Request, desk: DeskOf, principal: NameReader, study_uid: str) -> Response:
    if not desk.settings.desk.show_patient_names:
        sentence = "this site shows no names of patients (desk.show_patient_names)"
        raise RequestRefusedError(HTTPStatus.FORBIDDEN, sentence)
    shown = show_patient(desk, study_uid, principal.account.name)
    page = _page(desk, principal, study_uid, DEFAULT_PROJECT, patient=shown)
    return desk.page(request, principal, "study.html", page)


def _page(
    desk: Desk,
    principal: Principal,
    study_uid: str,
    project: str,
    *,
    patient: ShownPatient | None = None,
    error: str = "",
    refused: str = "No receipt was issued.",
) -> StudyPage:
    with desk.database.read() as connection:
        asked = ask(connection, desk, study_uid, policy_of(desk.settings, project))
        status = study_status(connection, study_uid, desk.wanted)
        receipts = listed(connection, 100, study_uid)
        happened = timeline(connection, study_uid)
        made = copies.of_study(connection, desk, study_uid, project, asked.findings, principal.role)
    if status is None or status.study_instance_uid != study_uid:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, "no series of this study was received")
    sees_receipts = may(principal.role, Permission.SEE_EXPORTS)
    return StudyPage(
        study_uid=study_uid,
        href=f"/desk/studies/{quote(study_uid, safe='')}",
        project=project,
        projects=desk.projects if project in desk.projects else (*desk.projects, project),
        decision=asked.decision,
        verdict=status.verdict,
        series=status.series,
        timeline=steps(happened, with_exports=sees_receipts),
        receipts=receipts if sees_receipts else None,
        release=_offer(desk, principal, asked),
        copies=made,
        ohif_url=desk.ohif_url(study_uid),
        may_see_names=desk.settings.desk.show_patient_names
        and may(principal.role, Permission.SEE_NAMES),
        patient=patient,
        error=error,
        refused=refused,
    )


def _offer(desk: Desk, principal: Principal, asked: Asked) -> ReleaseOffer:
    releases = asked.decision.outcome is GateOutcome.RELEASE
    if not (releases and may(principal.role, Permission.RELEASE)):
        return ReleaseOffer(may=False, seen="", why_not="")
    if desk.settings.gate.key_file is None:
        return ReleaseOffer(may=False, seen="", why_not=NO_KEY)
    return ReleaseOffer(may=True, seen=asked.seen, why_not="")
