"""The paths of the HTTP role and what answers them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.errors import DatabaseError
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.intake.intake import Intake
from dicomnode.rates import Rates
from dicomnode.tracking.database import Database
from dicomnode.web.access import HEALTH_PATH, BearerToken
from dicomnode.web.api.application import PREFIX, make_api
from dicomnode.web.connections import BoundedRequests, limits_of
from dicomnode.web.counted import Counted
from dicomnode.web.desk.desk import Desk
from dicomnode.web.desk.mounting import mount_desk
from dicomnode.web.identity import Identity
from dicomnode.web.metrics import MEDIA_TYPE, exposition
from dicomnode.web.people import make_pages
from dicomnode.web.store import StoreService


def make_application(
    settings: Settings, intake: Intake, database: Database, token: bytes
) -> Starlette:
    """Without a `token` every program may store and ask for metrics; `config` sees to it that this
    is on loopback only, without a proxy before it. People and the API have accounts.
    """
    examiner = ExaminerInUse(settings)
    counted = Counted(database, examiner)
    monitor, service = _Monitor(intake, database, counted), StoreService(settings, intake)
    guesses = Rates(settings.web.logins_per_minute)
    guard = Middleware(
        BearerToken, token=token, audit=intake.audit, settings=settings.web, guesses=guesses
    )
    store = ("/dicom-web/studies", "/dicom-web/studies/{study}")
    routes: list[BaseRoute] = [
        Route(HEALTH_PATH, monitor.health),
        Route("/metrics", monitor.metrics, middleware=[guard]),
        *(Route(path, service.store, methods=["POST"], middleware=[guard]) for path in store),
    ]
    if settings.web.desk:
        identity = Identity(settings.web, database)
        pages = make_pages(settings, identity)
        mount_desk(pages, Desk(settings, database, examiner, counted.totals))
        routes.append(Mount(PREFIX, make_api(settings, identity, examiner)))
        routes.append(Mount("/", pages))
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(BoundedRequests, limits=limits_of(settings.scp), settings=settings.web)
        ],
    )


class _Monitor:
    """How the node is, for programs that watch it."""

    def __init__(self, intake: Intake, database: Database, counted: Counted) -> None:
        self._intake = intake
        self._database = database
        self._counted = counted

    async def health(self, _request: Request) -> Response:
        """200 where an object would be taken in now, else 503."""
        well = self._intake.is_alive() and await run_in_threadpool(self._database_answers)
        status = "ok" if well else "unavailable"
        return JSONResponse({"status": status, "version": __version__}, 200 if well else 503)

    async def metrics(self, _request: Request) -> Response:
        try:
            found = await run_in_threadpool(self._counted.totals)
        except DatabaseError:
            return PlainTextResponse("the database is away\n", 503)
        return PlainTextResponse(exposition(found), media_type=MEDIA_TYPE)

    def _database_answers(self) -> bool:
        try:
            return self._database.check().is_current
        except DatabaseError:
            return False
