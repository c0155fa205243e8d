"""Pictures of examined volumes, by the numbers of their row: no address becomes a path.

A picture is sent as it was recorded or not at all: its SHA-256 is looked at each time, so nobody
decides by another one. A browser asks again each time too, and is told 304.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from dicomnode.domain import Picture
from dicomnode.tracking.pictures import picture_of
from dicomnode.web.desk.access import PictureReader
from dicomnode.web.desk.desk import Desk, DeskOf
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
    return send_picture(request, desk, found)


def send_picture(request: Request, desk: Desk, found: Picture) -> Response:
    """Raises `RequestRefusedError` where it isn't the one that was recorded."""
    headers = {"ETag": f'"{found.sha256}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    png = _read(found.path, desk.settings.results_folder)
    if hashlib.sha256(png).hexdigest() != found.sha256:
        raise RequestRefusedError(HTTPStatus.GONE, "the picture is gone, or was changed")
    return Response(png, media_type="image/png", headers=headers)


def _read(path: FilePath, folder: FilePath) -> bytes:
    """Nothing where it can't be read, or lies outside of `folder`, whatever the row says."""
    if not path.resolve().is_relative_to(folder.resolve()):
        return b""
    try:
        return path.read_bytes()
    except OSError:
        return b""
