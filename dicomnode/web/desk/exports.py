"""What left, and the receipts that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from dicomnode.errors import ReceiptError
from dicomnode.gate.receipt import Person, Receipt, read
from dicomnode.tracking import receipts
from dicomnode.tracking.receipts import StoredReceipt
from dicomnode.web.desk import templating
from dicomnode.web.desk.access import ExportReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.refused import RequestRefusedError

ROUTER = APIRouter()
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@dataclass(frozen=True)
class ReceiptPage:
    receipt: StoredReceipt
    by: str
    series: str
    instances: str
    reasons: Sequence[str]


@ROUTER.get("/receipts/{number}")
def receipt(request: Request, desk: DeskOf, principal: ExportReader, number: Number) -> Response:
    stored = _stored(desk, number)
    try:
        said = read(stored.document.encode("utf-8"), f"receipt {number}").receipt
    except ReceiptError as error:
        raise RequestRefusedError(HTTPStatus.CONFLICT, str(error)) from None
    page = ReceiptPage(
        receipt=stored,
        by=_by(said),
        series=templating.count(len(said.series), "series", "series"),
        instances=templating.count(len(said.instances), "instance"),
        reasons=said.reasons,
    )
    return desk.page(request, principal, "receipt.html", page)


@ROUTER.get("/receipts/{number}/receipt.json")
def receipt_document(desk: DeskOf, _principal: ExportReader, number: Number) -> Response:
    """As it was signed, with the newline that `gate decide --receipt` writes."""
    name = f'attachment; filename="receipt-{number}.json"'
    content = f"{_stored(desk, number).document}\n"
    return Response(content, media_type="application/json", headers={"Content-Disposition": name})


def _stored(desk: Desk, number: int) -> StoredReceipt:
    with desk.database.read() as connection:
        found = receipts.one(connection, number)
    if found is None:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, "there is no receipt of this number")
    return found


def _by(said: Receipt) -> str:
    return f"{said.by.account}: {said.by.note}" if isinstance(said.by, Person) else said.by
