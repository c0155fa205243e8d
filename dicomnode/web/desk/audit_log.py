"""The audit log, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from dicomnode.tracking import audit
from dicomnode.tracking.audit import AuditEvent
from dicomnode.web.desk.access import AuditReader
from dicomnode.web.desk.desk import DeskOf

ROUTER = APIRouter()
_AT_A_TIME = 50


@dataclass(frozen=True)
class AuditPage:
    events: Sequence[AuditEvent]
    event: str
    subject: str
    older_href: str


@ROUTER.get("/audit")
def audit_log(
    request: Request,
    desk: DeskOf,
    principal: AuditReader,
    event: Annotated[str, Query(max_length=64)] = "",
    subject: Annotated[str, Query(max_length=128)] = "",
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    with desk.database.read() as connection:
        found = audit.newest(
            connection,
            _AT_A_TIME + 1,
            event=event.strip() or None,
            subject=subject.strip() or None,
            before=before,
        )
    shown = found[:_AT_A_TIME]
    query = urlencode(
        {"event": event, "subject": subject, "before": shown[-1].number if shown else 0}
    )
    older = f"/desk/audit?{query}" if len(found) > _AT_A_TIME else ""
    page = AuditPage(shown, event, subject, older)
    return desk.page(request, principal, "audit.html", page)
