"""The queue: what waits for a person, what failed, what is on its way, and since when.

The part that changes is a page of its own too: a browser asks for it again and again, and is told
304 where nothing changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from dicomnode.gate import asking
from dicomnode.tracking import reviews, work_queue
from dicomnode.tracking.paging import CappedCount
from dicomnode.tracking.reviews import ReviewItem
from dicomnode.tracking.work_queue import QueueItem, QueueKind
from dicomnode.web.desk import neighbours
from dicomnode.web.desk.access import ListReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.desk.queue_words import PARTS, REVIEW, REVIEW_WORDS, PartWords

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROUTER = APIRouter()
_AT_A_GLANCE, _AT_A_TIME = 10, 50

Part = Annotated[str, Query(pattern=f"^({'|'.join((REVIEW, *QueueKind))})?$")]
After = Annotated[int, Query(ge=0, le=2**31 - 1)]


@dataclass(frozen=True)
class Tile:
    href: str
    words: PartWords
    count: CappedCount


@dataclass(frozen=True)
class QueuePart:
    """`more_href` leads to what comes behind these."""

    key: str
    words: PartWords
    items: Sequence[QueueItem | ReviewItem]
    more_href: str


@dataclass(frozen=True)
class QueueContent:
    """The part of the page that changes; `sentence` is read aloud when it does."""

    part: str
    tiles: Sequence[Tile]
    parts: Sequence[QueuePart]
    first_href: str
    persons_needed: int
    is_asked_for: bool
    is_asked_by_kind: bool
    now: datetime
    sentence: str


@dataclass(frozen=True)
class QueuePage:
    content: QueueContent
    live_href: str
    live_seconds: float


@ROUTER.get("/queue")
def queue(
    request: Request, desk: DeskOf, principal: ListReader, part: Part = "", after: After = 0
) -> Response:
    query = urlencode({"part": part, "after": after})
    live_seconds = desk.settings.desk.live_seconds
    page = QueuePage(_content(desk, part, after), f"/desk/queue/live?{query}", live_seconds)
    return desk.page(request, principal, "queue.html", page)


@ROUTER.get("/queue/live")
def live(
    request: Request, desk: DeskOf, _principal: ListReader, part: Part = "", after: After = 0
) -> Response:
    html = desk.render("queue_live.html", {"content": _content(desk, part, after)})
    tag = f'"{hashlib.sha256(html.encode("utf-8")).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    return HTMLResponse(html, headers={"ETag": tag})


def _content(desk: Desk, part: str, after: int) -> QueueContent:
    wanted = asking.review_filter(desk.settings)
    with desk.database.read() as c:
        waiting, counts = reviews.count(c, wanted), work_queue.counts(c)
        return QueueContent(
            part=part,
            tiles=(_tile(REVIEW, REVIEW_WORDS, waiting), *_tiles(counts)),
            parts=tuple(_parts(c, desk, part, after)),
            first_href=neighbours.first(c, desk),
            persons_needed=wanted.persons,
            is_asked_for=asking.asks_by_verdict(desk.settings),
            is_asked_by_kind=wanted.is_by_kind,
            now=datetime.now(UTC),
            sentence=f"{waiting} wait for a person, {counts[QueueKind.FAILED]} failed",
        )


def _tiles(counts: Mapping[QueueKind, CappedCount]) -> Iterator[Tile]:
    for kind, words in PARTS.items():
        if counts[kind].count:
            yield _tile(kind, words, counts[kind])


def _tile(part: str, words: PartWords, count: CappedCount) -> Tile:
    return Tile(_href(part), words, count)


def _parts(c: Connection, desk: Desk, part: str, after: int) -> Iterator[QueuePart]:
    """The beginning of each, or a page of the one that is asked for."""
    limit = _AT_A_TIME if part else _AT_A_GLANCE
    if part in ("", REVIEW):
        waiting = reviews.page(c, asking.review_filter(desk.settings), after, limit)
        yield QueuePart(REVIEW, REVIEW_WORDS, waiting.items, _more(REVIEW, waiting.next_after))
    for kind, words in PARTS.items():
        if part in ("", kind):
            found = work_queue.page(c, kind, after, limit)
            if found.items or part:
                yield QueuePart(kind, words, found.items, _more(kind, found.next_after))


def _more(part: str, next_after: int | None) -> str:
    return "" if next_after is None else _href(part, next_after)


def _href(part: str, after: int = 0) -> str:
    query = {"part": part} | ({"after": str(after)} if after else {})
    return f"/desk/queue?{urlencode(query)}"
