"""Start and stop the HTTP role."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomnode.config import Settings
from dicomnode.errors import DicomnodeError
from dicomnode.intake.listening import listen
from dicomnode.intake.running import running_intake
from dicomnode.meters import Meters
from dicomnode.reloading import Reload, never
from dicomnode.tls import ServerTLS
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import Pulse
from dicomnode.web.access import read_token
from dicomnode.web.application import make_application
from dicomnode.web.connections import ONE_REQUEST, bounded_protocol
from dicomnode.web.people import refuse_without_accounts

LOGGER = logging.getLogger("dicomnode.web")

_GRACE_SECONDS = 5
_STOP_SECONDS = 15.0


def serve(
    settings: Settings,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    alive: Callable[[], None] = lambda: None,
    reload: Reload = never,
    meters: Meters | None = None,
) -> None:
    """Answer requests until `stop` is set; open ones get a moment to end.

    `ready` is called once requests are answered, and then `alive` again and again while every
    thread is at work. `reload` brings new settings, for requests that come from then on. Raises
    `PortInUseError`, `ConfigurationError`, `DatabaseError`, and `DicomnodeError` when a thread
    died.
    """
    meters = meters or Meters()
    pulse = Pulse(settings.pulses_folder, "web", meters)
    tls = ServerTLS(settings.web.tls, "web.tls") if settings.web.tls else None
    with (
        listen(settings.web.host, settings.web.port, "web") as listener,
        running_intake(settings) as intake,
        closing(Database(settings.database_url)) as database,
    ):

        def make(now: Settings) -> Starlette:
            refuse_without_accounts(now, database)
            return make_application(now, intake, database, read_token(now.web), meters)

        def use(now: Settings) -> None:
            newest.application, newest.settings = make(now), now
            intake.use(now.scp)

        newest = _Newest(make(settings), settings)
        with _answering(newest, listener, tls) as thread:
            LOGGER.info("answering", extra={"port": settings.web.port})
            ready()
            while not stop.wait(0.25):
                reload(use)
                if not (intake.is_alive() and thread.is_alive()):
                    raise DicomnodeError("a thread of the HTTP role died; see the log")
                alive()
                pulse.beat()
    pulse.stop()


class _Newest:
    """The application of the newest settings; a request is answered by the one it began with."""

    def __init__(self, application: ASGIApp, settings: Settings) -> None:
        self.application = application
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)


@contextmanager
def _answering(
    newest: _Newest, listener: socket.socket, tls: ServerTLS | None
) -> Iterator[threading.Thread]:
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = uvicorn.Server(
        uvicorn.Config(
            newest,
            http=bounded_protocol(lambda: newest.settings, tls),
            headers=ONE_REQUEST,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # The address in the records is that of the connection, whatever a header says.
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS)
