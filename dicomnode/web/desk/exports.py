"""What left, and the receipts that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from dicomnode.errors import ReceiptError
from dicomnode.gate.receipt import Person, Receipt, read
from dicomnode.tracking import exports, held, receipts
from dicomnode.tracking.exports import ExportedStudy
from dicomnode.tracking.held import HeldObject
from dicomnode.tracking.receipts import ListedReceipt, StoredReceipt
from dicomnode.web.desk import templating
from dicomnode.web.desk.access import ExportReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.refused import RequestRefusedError

ROUTER = APIRouter()
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


_AT_A_TIME = 25
Before = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


@dataclass(frozen=True)
class ExportsPage:
    """`held` is what somebody sent through the gate and what may not leave, or not yet."""

    exported: Sequence[ExportedStudy]
    older_exports_href: str
    receipts: Sequence[ListedReceipt]
    older_receipts_href: str
    held: Sequence[HeldObject]
    older_held_href: str


@dataclass(frozen=True)
class ReceiptPage:
    receipt: StoredReceipt
    by: str
    series: str
    instances: str
    reasons: Sequence[str]


@ROUTER.get("/exports")
def every_export(
    request: Request,
    desk: DeskOf,
    principal: ExportReader,
    exports_before: Before = None,
    receipts_before: Before = None,
    held_before: Before = None,
) -> Response:
    with desk.database.read() as c:
        left = exports.newest(c, _AT_A_TIME + 1, before=exports_before)
        issued = receipts.listed(c, _AT_A_TIME + 1, before=receipts_before)
        waiting = held.newest(c, _AT_A_TIME + 1, before=held_before)
    page = ExportsPage(
        exported=left[:_AT_A_TIME],
        older_exports_href=_older("exports_before", [each.id for each in left]),
        receipts=issued[:_AT_A_TIME],
        older_receipts_href=_older("receipts_before", [each.number for each in issued]),
        held=waiting[:_AT_A_TIME],
        older_held_href=_older("held_before", [each.id for each in waiting]),
    )
    return desk.page(request, principal, "exports.html", page)


def _older(name: str, places: Sequence[int]) -> str:
    """Where the next page begins; empty where this is the last."""
    is_last = len(places) <= _AT_A_TIME
    return "" if is_last else f"/desk/exports?{name}={places[_AT_A_TIME - 1]}"


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
