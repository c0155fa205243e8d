"""Signed receipts: issued, listed, handed out; and the key that they are verified with."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import PlainTextResponse, Response

from dicomnode.domain import as_json
from dicomnode.errors import ReceiptError
from dicomnode.gate.issuing import decide_and_issue
from dicomnode.gate.keys import private_key, public_pem
from dicomnode.gate.policy import policy_of
from dicomnode.gate.receipt import Person
from dicomnode.tracking import receipts as kept
from dicomnode.web.api.access import Door, ExportReader, ListReader, Releaser, TheDoor
from dicomnode.web.api.problems import responses
from dicomnode.web.api.projects import Project
from dicomnode.web.api.values import (
    IssuedReceipt,
    ReceiptEntry,
    ReceiptPage,
    ReceiptRequest,
    SignedDocument,
    Uid,
)
from dicomnode.web.refused import RequestRefusedError

router = APIRouter(tags=["receipts"])

_LARGEST_NUMBER = 2**31 - 1
Number = Annotated[int, Path(ge=1, le=_LARGEST_NUMBER)]


@router.post("/projects/{project}/receipts", response_model=IssuedReceipt)
def issue(project: Project, sent: ReceiptRequest, door: TheDoor, steward: Releaser) -> Response:
    """Decide, and sign a receipt where the study may leave: one transaction for both."""
    wanted, policy = door.examiner.now().wanted_digest, policy_of(door.settings, project)
    key = private_key(_key_file(door))
    by = Person(steward.account.name, sent.note)
    decided = decide_and_issue(door.database, key, sent.study_instance_uid, policy, wanted, by)
    door.counted(decided.decision)
    # The document as it was signed: a model would write some of its values in another way.
    document = "null" if decided.signed is None else decided.signed.document
    answer = f'{{"decision":{json.dumps(as_json(decided.decision))},"receipt":{document}}}'
    return Response(answer, media_type="application/json")


@router.get("/receipts")
def receipts(
    door: TheDoor,
    _reader: ExportReader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=_LARGEST_NUMBER)] = None,
    study: Annotated[Uid | None, Query(description="Study Instance UID")] = None,
) -> ReceiptPage:
    with door.database.read() as connection:
        found = kept.listed(connection, limit + 1, study, before)
    shown = [ReceiptEntry.model_validate(each, from_attributes=True) for each in found[:limit]]
    return ReceiptPage(receipts=shown, next_before=shown[-1].number if len(found) > limit else None)


class _Pem(PlainTextResponse):
    media_type = "application/x-pem-file"


@router.get("/receipts/public-key", response_class=_Pem)
def public_key(door: TheDoor, _reader: ListReader) -> _Pem:
    """PEM, for `dicomnode gate verify --public-key`. Compare it with one from another way."""
    return _Pem(public_pem(private_key(_key_file(door)).public_key()))


@router.get(
    "/receipts/{number}",
    response_model=SignedDocument,
    responses=responses(HTTPStatus.NOT_FOUND),
)
def receipt(number: Number, door: TheDoor, _reader: ExportReader) -> Response:
    """The document as it was signed, byte for byte."""
    with door.database.read() as connection:
        found = kept.one(connection, number)
    if found is None:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, "there is no receipt of this number")
    return Response(found.document, media_type="application/json")


def _key_file(door: Door) -> FilePath:
    file = door.settings.gate.key_file
    if file is None:
        raise ReceiptError("gate.key_file is not set: dicomnode gate keygen FILE")
    return file
