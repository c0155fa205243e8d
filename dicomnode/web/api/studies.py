"""What the node knows of a study."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path

from dicomnode.tracking.status import StudyStatus, study_status
from dicomnode.web.api.access import ListReader, TheDoor
from dicomnode.web.api.problems import responses
from dicomnode.web.api.values import Uid
from dicomnode.web.refused import RequestRefusedError

router = APIRouter(tags=["studies"])
StudyUid = Annotated[Uid, Path(description="Study Instance UID")]


@router.get("/studies/{study_uid}", responses=responses(HTTPStatus.NOT_FOUND))
def study(study_uid: StudyUid, door: TheDoor, _reader: ListReader) -> StudyStatus:
    """As `dicomnode status --json`: series, verdicts, deliveries; no attribute of the patient."""
    wanted = door.examiner.now().wanted_digest
    with door.database.read() as connection:
        found = study_status(connection, study_uid, wanted)
    if found is None or found.study_instance_uid != study_uid:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, "no series of this study was ever received")
    return found
