"""Start and stop the gate's DICOM door: one process, one thread for each association."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing

from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from dicomnode.config import Settings
from dicomnode.dimse.entity import accepting_entity, finish_associations
from dicomnode.dimse.listener import Servers, doors
from dicomnode.domain import WantedDigest
from dicomnode.errors import DicomnodeError
from dicomnode.gate.policy import policy_of
from dicomnode.gate.release import Exit
from dicomnode.gate_scp.door import ACCOUNT_PREFIX, Ways
from dicomnode.gate_scp.find import Released
from dicomnode.gate_scp.handlers import GateHandlers
from dicomnode.gate_scp.waiting import WaitingRoom, keep_looking
from dicomnode.tracking import exports
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.gate")


def serve(
    settings: Settings,
    exits: Callable[[Database, str, str, str], Exit],
    wanted: WantedDigest,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Serve until `stop` is set; returns when open associations have ended or were aborted.

    `exits` makes an exit for a project, an archive and an account. `ready` and `alive` are as in
    `scp.server.serve`. Raises `PortInUseError`, `DatabaseError`, and `DicomnodeError` when a
    thread died.
    """
    with (
        doors(settings.gate_ae, "gate_ae") as opened,
        closing(Database(settings.database_url)) as database,
    ):
        database.migrate()
        with database.begin() as connection:
            exports.stop_unfinished(connection, ACCOUNT_PREFIX)
        ways = _ways(settings, database, exits)
        room = WaitingRoom(ways, _waiting_spool(settings))
        room.sweep()

        def released(project: str) -> Released:
            policy, most = policy_of(settings, project), settings.gate_ae.maximum_studies
            return Released(database, policy, wanted, most)

        handlers = GateHandlers(settings, ways, room, released)
        accepting = entity(settings)
        servers = Servers(accepting, opened, settings.scp, handlers.handlers())
        _run(settings, accepting, servers, handlers, room, ready, stop, alive)


def _run(
    settings: Settings,
    accepting: ApplicationEntity,
    servers: Servers,
    handlers: GateHandlers,
    room: WaitingRoom,
    ready: Callable[[], None],
    stop: threading.Event,
    alive: Callable[[], None],
) -> None:
    looking = threading.Thread(
        target=keep_looking,
        args=(room, settings.gate_ae.look_again_seconds, stop),
        name="look again",
        daemon=True,
    )
    servers.start()
    looking.start()
    LOGGER.info("the gate is open", extra={"port": settings.gate_ae.port})
    ready()
    while not stop.wait(0.25):
        handlers.close_ended()
        if not (servers.are_alive() and looking.is_alive()):
            raise DicomnodeError("a thread of the gate died; see the log")
        alive()
    servers.shutdown()
    finish_associations(accepting)
    handlers.close_ended()


def entity(settings: Settings) -> ApplicationEntity:
    """C-ECHO, C-STORE and C-FIND."""
    accepting = accepting_entity(settings.scp)
    accepting.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    return accepting


def _ways(
    settings: Settings, database: Database, exits: Callable[[Database, str, str, str], Exit]
) -> Ways:
    return Ways(
        database=database,
        spool=Spool(settings.spool_folder),
        titles={title.ae_title: title for title in settings.gate_ae.titles},
        archives={archive.name: archive for archive in settings.archives},
        exits=lambda project, archive, account: exits(database, project, archive, account),
        calling_ae_title=settings.scp.ae_title,
    )


def _waiting_spool(settings: Settings) -> Spool:
    spool = Spool(settings.waiting_folder, settings.scp.minimum_free_bytes)
    spool.prepare()
    return spool
