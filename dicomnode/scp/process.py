"""One receiving process: what it is made of, and how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from pynetdicom.ae import ApplicationEntity

from dicomnode.config import Settings
from dicomnode.dimse.entity import accepting_entity, finish_associations
from dicomnode.dimse.listener import Door, Servers
from dicomnode.errors import DicomnodeError
from dicomnode.intake.intake import Intake
from dicomnode.scp.procedure import ProcedureReceiver, add_contexts
from dicomnode.scp.receiver import Receiver
from dicomnode.tracking.database import Database
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
) -> None:
    """One receiving process."""
    database = Database(settings.database_url)
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    intake = Intake(settings.scp, database, spool, receiver_id)
    receiver = Receiver(settings.scp, intake)
    handlers = receiver.handlers() + ProcedureReceiver(database).handlers()
    entity = _entity(settings)
    servers = Servers(entity, doors, settings.scp, handlers)
    intake.start()
    servers.start()
    LOGGER.info("receiving", extra={"port": settings.scp.port, "receiver": receiver_id})
    ready()
    while not stop.wait(0.25):
        receiver.close_ended()
        if not (intake.is_alive() and servers.are_alive()):
            raise DicomnodeError("a thread of the receiver died; see the log")
        alive()
    servers.shutdown()
    finish_associations(entity)
    receiver.close_ended()
    intake.stop()
    database.close()


def _entity(settings: Settings) -> ApplicationEntity:
    """C-ECHO, C-STORE, MPPS and IAN."""
    entity = accepting_entity(settings.scp)
    add_contexts(entity)
    return entity
