"""Copies without faces at the desk: where they stand, and what proves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response

from dicomnode.domain import OPEN_COPIES, CopyState, DefacingProof, Role
from dicomnode.errors import DefacingError
from dicomnode.gate.copies import deidentified_for, manner, plan_copy
from dicomnode.tracking import copied_series, study_copies
from dicomnode.tracking.copied_series import CopyOrigin
from dicomnode.tracking.findings import SeriesFinding
from dicomnode.tracking.study_copies import StudyCopy
from dicomnode.web.desk.access import PictureReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.desk.facts import Fact
from dicomnode.web.desk.pictures import send_picture
from dicomnode.web.desk.templating import number
from dicomnode.web.desk.volume_view import HIDDEN, ShownPicture
from dicomnode.web.permissions import Permission, may
from dicomnode.web.refused import RequestRefusedError

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROUTER = APIRouter()
_LABELS = ("Before", "After")


@dataclass(frozen=True)
class StudyCopies:
    """`original` is there where this study is itself a copy. `names_of` is the project for which a
    new copy would be de-identified, if it would be. `proofs`: a sentence for each copy, by
    its number, in which a proof is not given. `why_not` is one where there is no button."""

    original: StudyCopy | None
    copies: Sequence[StudyCopy]
    proofs: Mapping[int, str]
    may_ask: bool
    why_not: str
    names_of: str


@dataclass(frozen=True)
class Before:
    label: str
    picture: ShownPicture


@dataclass(frozen=True)
class ProvenCopy:
    """Of a series that is a copy: `hidden` is a sentence where pictures may not be seen."""

    origin: CopyOrigin
    facts: Sequence[Fact]
    pictures: Sequence[Before]
    hidden: str


def of_study(
    connection: Connection,
    desk: Desk,
    study_uid: str,
    project: str,
    findings: Sequence[SeriesFinding],
    role: Role,
) -> StudyCopies:
    found = study_copies.of_study(connection, study_uid)
    copies = [one for one in found if one.study_instance_uid == study_uid]
    original = next((one for one in found if one.copy_study_instance_uid == study_uid), None)
    why_not = _why_not(desk, study_uid, project, findings, copies, role)
    proofs = {one.id: _proof(copied_series.series_of(connection, one.id)) for one in found}
    names_of = deidentified_for(desk.settings, project) if project in desk.projects else ""
    return StudyCopies(original, copies, proofs, not why_not, why_not, names_of)


def _proof(series: Sequence[CopyOrigin]) -> str:
    held = sum(bool(one.objections) for one in series)
    return f"The proof is not given for {held} of {len(series)} series: it is held." if held else ""


def _why_not(
    desk: Desk,
    study_uid: str,
    project: str,
    findings: Sequence[SeriesFinding],
    copies: Sequence[StudyCopy],
    role: Role,
) -> str:
    if not may(role, Permission.DEFACE):
        return f"Your role, {role.value}, does not have faces removed."
    if any(one.state in OPEN_COPIES for one in copies):
        return "A copy is on its way; this page does not follow it by itself."
    try:
        names_of = deidentified_for(desk.settings, project)
        plan = plan_copy(study_uid, findings)
    except DefacingError as error:
        return f"No copy can be made now: {error}."
    how = manner(desk.settings, desk.examiner.now().digest, names_of)
    now = plan.study_instance_uid(study_uid, how)
    made = {one.copy_study_instance_uid for one in copies if one.state is CopyState.DONE}
    return "That is the copy of the study as it stands now." if now in made else ""


def proven(finding: SeriesFinding, role: Role) -> ProvenCopy | None:
    origin = finding.origin
    if origin is None:
        return None
    sees = may(role, Permission.SEE_PICTURES)
    return ProvenCopy(
        origin=origin,
        facts=() if origin.proof is None else tuple(_facts(origin.proof)),
        pictures=tuple(_pictures(origin)) if sees else (),
        hidden="" if sees or not origin.pictures else HIDDEN,
    )


def _facts(proof: DefacingProof) -> Iterator[Fact]:
    yield Fact("The proof", "is given" if proof.is_given else "is not given")
    yield Fact("Verdict of the networks", proof.verdict.kind, proof.verdict.reasons[0])
    yield Fact("Removed", number(proof.removed_ml, 0, "ml"))
    yield Fact("Dice", f"{proof.dice:.2f}", "of what was removed and what the networks see of it")
    changed = f"of {proof.brain_voxels} that were found"
    yield Fact("Voxels of the brain that changed", str(proof.brain_voxels_changed), changed)
    yield Fact("Other voxels that changed", str(proof.other_voxels_changed), "outside of the face")
    yield Fact("Exposed face", number(proof.evidence.exposed_face_ml, 0, "ml"))
    probabilities = (proof.face_probability_before, proof.evidence.face_probability)
    before, after = ("not asked" if one is None else f"{one:.2f}" for one in probabilities)
    yield Fact("Face detector", f"{before} before, {after} after", "probability of a face, 0 to 1")
    yield Fact("SHA-256 of what was kept", proof.kept_sha256)


def _pictures(origin: CopyOrigin) -> Iterator[Before]:
    uid = quote(origin.copy_series_instance_uid, safe="")
    for index, (label, picture) in enumerate(zip(_LABELS, origin.pictures, strict=False)):
        shown = ShownPicture(
            f"/desk/copies/{uid}/{index}", picture.width_pixels, picture.height_pixels
        )
        yield Before(label, shown)


@ROUTER.get("/copies/{series_uid}/{index}")
def picture(
    request: Request,
    desk: DeskOf,
    _principal: PictureReader,
    series_uid: str,
    index: Annotated[int, Path(ge=0, le=1)],
) -> Response:
    """The overview of a copied series before its face was removed (0), or after."""
    with desk.database.read() as connection:
        found = copied_series.picture_of(connection, series_uid, index)
    if found is None:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, "there is no such picture")
    return send_picture(request, desk, found)
