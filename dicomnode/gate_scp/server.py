"""Start and stop the gate's DICOM door: one process, one thread for each association."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing

from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from dicomnode.config import Settings
from dicomnode.dimse.entity import accepting_entity
from dicomnode.dimse.listener import Door, Servers, doors
from dicomnode.dimse.serving import Served, Serving
from dicomnode.domain import WantedDigest
from dicomnode.errors import DicomnodeError
from dicomnode.gate.policy import policy_of
from dicomnode.gate.release import Exit
from dicomnode.gate_scp.door import ACCOUNT_PREFIX, Ways
from dicomnode.gate_scp.find import Released
from dicomnode.gate_scp.handlers import GateHandlers
from dicomnode.gate_scp.waiting import WaitingRoom, keep_looking
from dicomnode.meters import Meters
from dicomnode.reloading import Reload, never
from dicomnode.tracking import exports, mounted
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import Pulse
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.gate")


def serve(
    settings: Settings,
    exits: Callable[[Settings, Database, str, str, str], Exit],
    wanted: WantedDigest,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    alive: Callable[[], None] = lambda: None,
    reload: Reload = never,
    meters: Meters | None = None,
) -> None:
    """Serve until `stop` is set; returns when open associations have ended or were aborted.

    `exits` makes an exit for a project, an archive and an account, under the settings of the
    moment. `ready`, `alive` and `reload` are as in `scp.server.serve`. Raises `PortInUseError`,
    `DatabaseError`, `SpoolError` where the spool is not mounted, and `DicomnodeError` when a
    thread died.
    """
    meters = meters or Meters()
    with (
        doors(settings.gate_ae, "gate_ae") as opened,
        closing(Database(settings.database_url)) as database,
    ):
        database.migrate()
        # Files that wait beside the spool would count as gone.
        mounted.require(database, Spool(settings.spool_folder))
        with database.begin() as connection:
            exports.stop_unfinished(connection, ACCOUNT_PREFIX)
        room = WaitingRoom(_ways(settings, database, exits, meters), _waiting_spool(settings))
        room.sweep()

        def make(now: Settings, handles: Sequence[Door]) -> Served:
            ways = _ways(now, database, exits, meters)
            room.use(ways)

            def released(project: str) -> Released:
                policy, most = policy_of(now, project), now.gate_ae.maximum_studies
                return Released(database, policy, wanted, most)

            handlers = GateHandlers(now, ways, room, released)
            return Served(
                Servers(entity(now), handles, now.scp, handlers.handlers()), handlers.close_ended
            )

        pulse = Pulse(settings.pulses_folder, "gate", meters)

        def beat() -> None:
            alive()
            pulse.beat()

        _run(settings, Serving(opened, make), room, ready, stop, beat, reload)
        pulse.stop()


def _run(
    settings: Settings,
    serving: Serving,
    room: WaitingRoom,
    ready: Callable[[], None],
    stop: threading.Event,
    alive: Callable[[], None],
    reload: Reload,
) -> None:
    looking = threading.Thread(
        target=keep_looking,
        args=(room, settings.gate_ae.look_again_seconds, stop),
        name="look again",
        daemon=True,
    )
    serving.begin(settings)
    looking.start()
    LOGGER.info("the gate is open", extra={"port": settings.gate_ae.port})
    ready()
    while not stop.wait(0.25):
        reload(serving.begin)
        serving.look()
        if not (serving.is_alive() and looking.is_alive()):
            raise DicomnodeError("a thread of the gate died; see the log")
        alive()
    serving.end()


def entity(settings: Settings) -> ApplicationEntity:
    """C-ECHO, C-STORE and C-FIND."""
    accepting = accepting_entity(settings.scp)
    accepting.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    return accepting


def _ways(
    settings: Settings,
    database: Database,
    exits: Callable[[Settings, Database, str, str, str], Exit],
    meters: Meters,
) -> Ways:
    return Ways(
        database=database,
        spool=Spool(settings.spool_folder),
        titles={title.ae_title: title for title in settings.gate_ae.titles},
        archives={archive.name: archive for archive in settings.archives},
        exits=lambda project, archive, account: exits(
            settings, database, project, archive, account
        ),
        calling_ae_title=settings.scp.ae_title,
        meters=meters,
    )


def _waiting_spool(settings: Settings) -> Spool:
    spool = Spool(settings.waiting_folder, settings.scp.minimum_free_bytes)
    spool.prepare()
    return spool
