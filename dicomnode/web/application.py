"""The paths of the HTTP role and what answers them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route

from dicomnode.config import Settings
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.intake.intake import Intake
from dicomnode.meters import Meters
from dicomnode.rates import Rates
from dicomnode.tracking.database import Database
from dicomnode.web.access import ALIVE_PATH, HEALTH_PATH, READY_PATH, BearerToken
from dicomnode.web.api.application import PREFIX, make_api
from dicomnode.web.connections import BoundedRequests, limits_of
from dicomnode.web.counted import Counted
from dicomnode.web.desk.desk import Desk
from dicomnode.web.desk.mounting import mount_desk
from dicomnode.web.identity import Identity
from dicomnode.web.monitor import Monitor
from dicomnode.web.people import make_pages
from dicomnode.web.store import StoreService


def make_application(
    settings: Settings,
    intake: Intake,
    database: Database,
    token: bytes,
    meters: Meters | None = None,
) -> Starlette:
    """Without a `token` every program may store and ask for metrics; `config` sees to it that this
    is on loopback only, without a proxy before it. People and the API have accounts.
    """
    meters, examiner = meters or Meters(), ExaminerInUse(settings)
    counted = Counted(settings, database, examiner)
    monitor = Monitor(settings, intake, database, counted)
    service = StoreService(settings, intake, meters)
    guesses = Rates(settings.web.logins_per_minute)
    guard = Middleware(
        BearerToken, token=token, audit=intake.audit, settings=settings.web, guesses=guesses
    )
    store = ("/dicom-web/studies", "/dicom-web/studies/{study}")
    routes: list[BaseRoute] = [
        Route(HEALTH_PATH, monitor.health),
        Route(ALIVE_PATH, monitor.alive),
        Route(READY_PATH, monitor.ready),
        Route("/metrics", monitor.metrics, middleware=[guard]),
        *(Route(path, service.store, methods=["POST"], middleware=[guard]) for path in store),
    ]
    if settings.web.desk:
        identity = Identity(settings.web, database)
        pages = make_pages(settings, identity)
        mount_desk(pages, Desk(settings, database, examiner, counted.totals))
        routes.append(Mount(PREFIX, make_api(settings, identity, examiner, meters)))
        routes.append(Mount("/", pages))
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(BoundedRequests, limits=limits_of(settings.scp), settings=settings.web)
        ],
    )
