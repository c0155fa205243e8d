"""The API as one application: its paths, its document, its errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.middleware import Middleware

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.meters import Meters
from dicomnode.web.api import problems, projects, receipts, studies
from dicomnode.web.api.access import Door, TokensOnly
from dicomnode.web.api.problems import Problem, responses
from dicomnode.web.api.values import ListEnd
from dicomnode.web.identity import Identity
from dicomnode.web.people import guards

PREFIX = "/api/v1"
_DOCUMENT_PATH = "/openapi.json"
_LONGEST_BODY_BYTES = 8 * 1024 * 1024
_DESCRIPTION = """May a study leave? The same decisions as `dicomnode gate`, with every reason.

Only an `outcome` of `release` in an answer of status 200 is a yes; everything else, a problem and
an answer that was cut off too, holds."""
_TAGS = [
    {"name": "studies", "description": "What the node knows."},
    {"name": "projects", "description": "Policies: which verdicts pass, what needs people."},
    {"name": "decisions", "description": "May it leave? Role viewer."},
    {"name": "receipts", "description": "Signed releases: role steward, but for the public key."},
]
_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """With the values that no path names as its own."""
        if self.openapi_schema is None:
            found = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
                tags=self.openapi_tags,
                servers=[{"url": PREFIX}],
            )
            _, more = models_json_schema(
                [(Problem, "serialization"), (ListEnd, "serialization")],
                ref_template="#/components/schemas/{model}",
            )
            found["components"]["schemas"] |= more["$defs"]
            self.openapi_schema = found
        return self.openapi_schema


def make_api(
    settings: Settings, identity: Identity, examiner: ExaminerInUse, meters: Meters | None = None
) -> FastAPI:
    door = Door(settings, identity, examiner, meters or Meters())
    api = _Api(
        title="dicomnode gate",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=_DOCUMENT_PATH,
        openapi_tags=_TAGS,
        # Their pages load scripts from elsewhere, which hospitals don't reach.
        docs_url=None,
        redoc_url=None,
        responses=responses(*_ALWAYS),
        generate_unique_id_function=_operation_id,
        middleware=[
            *guards(settings, identity, _LONGEST_BODY_BYTES),
            Middleware(TokensOnly, door=door, open_path=_DOCUMENT_PATH),
        ],
    )
    api.state.door = door
    problems.add_handlers(api)
    for router in (studies.router, projects.router, receipts.router):
        api.include_router(router)
    return api


def _operation_id(route: APIRoute) -> str:
    return route.name
