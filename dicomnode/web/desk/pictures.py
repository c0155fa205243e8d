"""Pictures of examined volumes, by the numbers of their row: no address becomes a path.

A picture is sent as it was recorded or not at all: its SHA-256 is looked at each time, so nobody
decides by another one. A browser asks again each time too, and is told 304.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from dicomnode.tracking.pictures import picture_of
from dicomnode.web.desk.access import PictureReader
from dicomnode.web.desk.desk import DeskOf
from dicomnode.web.refused import RequestRefusedError

ROUTER = APIRouter()
# What fits into a column of either database.
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]


@ROUTER.get("/pictures/{examination_id}/{volume_number}/{index}")
def picture(
    request: Request,
    desk: DeskOf,
    _principal: PictureReader,
    examination_id: Number,
    volume_number: Number,
    index: Number,
) -> Response:
    with desk.database.read() as connection:
        found = picture_of(connection, examination_id, volume_number, index)
    if found is None:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, "there is no such picture")
    headers = {"ETag": f'"{found.sha256}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    try:
        png = found.path.read_bytes()
    except OSError:
        png = b""
    if hashlib.sha256(png).hexdigest() != found.sha256:
        raise RequestRefusedError(HTTPStatus.GONE, "the picture is gone, or was changed")
    return Response(png, media_type="image/png", headers=headers)
