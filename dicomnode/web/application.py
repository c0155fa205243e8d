"""The paths of the HTTP role and what answers them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.errors import DatabaseError, ModelError
from dicomnode.inference.examiner import installed_examiner
from dicomnode.intake.intake import Intake
from dicomnode.tracking.database import Database
from dicomnode.tracking.totals import Total, outdated_total, totals
from dicomnode.web.access import HEALTH_PATH, BearerToken
from dicomnode.web.connections import BoundedRequests, limits_of
from dicomnode.web.identity import Identity
from dicomnode.web.metrics import MEDIA_TYPE, exposition
from dicomnode.web.people import make_pages
from dicomnode.web.store import StoreService

if TYPE_CHECKING:
    from sqlalchemy import Connection


def make_application(
    settings: Settings, intake: Intake, database: Database, token: bytes
) -> Starlette:
    """Without a `token` every program may store and ask for metrics; `config` sees to it that this
    is on loopback only. People and the API have accounts.
    """
    monitor, service = _Monitor(settings, intake, database), StoreService(settings, intake)
    programs = [Middleware(BearerToken, token=token, audit=intake.audit)]
    store = ("/dicom-web/studies", "/dicom-web/studies/{study}")
    routes: list[BaseRoute] = [
        Route(HEALTH_PATH, monitor.health),
        Route("/metrics", monitor.metrics, middleware=programs),
        *(Route(path, service.store, methods=["POST"], middleware=programs) for path in store),
    ]
    if settings.web.desk:
        identity = Identity(settings.web, database)
        routes.append(Mount("/", make_pages(settings, identity)))
    return Starlette(
        routes=routes,
        middleware=[Middleware(BoundedRequests, limits=limits_of(settings.scp))],
    )


# Prometheus scrapes this often; counting looks at whole tables.
_COUNTED_AGAIN_SECONDS = 30.0


class _Monitor:
    """How the node is, for programs that watch it."""

    def __init__(self, settings: Settings, intake: Intake, database: Database) -> None:
        self._settings = settings
        self._intake = intake
        self._database = database
        self._counting = threading.Lock()
        self._counted: tuple[Total, ...] = ()
        self._count_again_at = 0.0

    async def health(self, _request: Request) -> Response:
        """200 where an object would be taken in now, else 503."""
        well = self._intake.is_alive() and await run_in_threadpool(self._database_answers)
        status = "ok" if well else "unavailable"
        return JSONResponse({"status": status, "version": __version__}, 200 if well else 503)

    async def metrics(self, _request: Request) -> Response:
        try:
            found = await run_in_threadpool(self._totals)
        except DatabaseError:
            return PlainTextResponse("the database is away\n", 503)
        return PlainTextResponse(exposition(found), media_type=MEDIA_TYPE)

    def _totals(self) -> tuple[Total, ...]:
        """As they were half a minute ago at most; one scrape counts, others wait for it."""
        with self._counting:
            if time.monotonic() >= self._count_again_at:
                with self._database.read() as connection:
                    self._counted = (*totals(connection), *self._outdated(connection))
                self._count_again_at = time.monotonic() + _COUNTED_AGAIN_SECONDS
            return self._counted

    def _outdated(self, connection: Connection) -> tuple[Total, ...]:
        """Models may be installed while this runs. What is wrong with them the worker says."""
        try:
            wanted = installed_examiner(self._settings).wanted_digest
        except ModelError:
            return ()
        return (outdated_total(connection, wanted),)

    def _database_answers(self) -> bool:
        try:
            return self._database.check().is_current
        except DatabaseError:
            return False
