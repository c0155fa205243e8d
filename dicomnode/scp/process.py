"""One receiving process: what it is made of, and how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from pynetdicom.ae import ApplicationEntity

from dicomnode.config import Settings
from dicomnode.dimse.entity import accepting_entity
from dicomnode.dimse.listener import Door, Servers
from dicomnode.dimse.serving import Served, Serving
from dicomnode.errors import DicomnodeError
from dicomnode.intake.intake import Intake
from dicomnode.meters import Meters
from dicomnode.reloading import Reload, never
from dicomnode.scp.commitment import CommitmentReceiver, add_context
from dicomnode.scp.procedure import ProcedureReceiver, add_contexts
from dicomnode.scp.receiver import Receiver
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import Pulse
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.scp")


def receive(
    settings: Settings,
    doors: Sequence[Door],
    receiver_id: str,
    *,
    ready: Callable[[], None],
    alive: Callable[[], None],
    stop: threading.Event,
    reload: Reload = never,
    meters: Meters | None = None,
) -> None:
    """One receiving process."""
    meters = meters or Meters()
    database = Database(settings.database_url)
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    intake = Intake(settings.scp, database, spool, receiver_id)
    pulse = Pulse(settings.pulses_folder, "scp", meters)
    commitment = CommitmentReceiver(database, spool)

    def make(now: Settings, handles: Sequence[Door]) -> Served:
        receiver = Receiver(now, intake, meters)
        handlers = [
            *receiver.handlers(),
            *ProcedureReceiver(database).handlers(),
            *commitment.handlers(),
        ]
        servers = Servers(_entity(now), handles, now.scp, handlers)
        intake.use(now.scp)
        return Served(servers, receiver.close_ended)

    serving = Serving(doors, make)
    intake.start()
    commitment.start()
    serving.begin(settings)
    LOGGER.info("receiving", extra={"port": settings.scp.port, "receiver": receiver_id})
    ready()
    while not stop.wait(0.25):
        reload(serving.begin)
        serving.look()
        if not (intake.is_alive() and serving.is_alive()):
            raise DicomnodeError("a thread of the receiver died; see the log")
        alive()
        pulse.beat()
    serving.stop_accepting()
    commitment.stop()
    serving.end()
    intake.stop()
    pulse.stop()
    database.close()


def _entity(settings: Settings) -> ApplicationEntity:
    """C-ECHO, C-STORE, MPPS, IAN and Storage Commitment."""
    entity = accepting_entity(settings.scp)
    add_contexts(entity)
    add_context(entity)
    return entity
