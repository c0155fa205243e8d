"""One receiving process: what it is made of, and how it ends."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

from pynetdicom.ae import ApplicationEntity

from dicomnode.config import Settings
from dicomnode.dimse.entity import accepting_entity, finish_associations
from dicomnode.dimse.listener import ReceivingServer
from dicomnode.errors import DicomnodeError
from dicomnode.intake.intake import Intake
from dicomnode.scp.commitment import CommitmentReceiver, add_context
from dicomnode.scp.procedure import ProcedureReceiver, add_contexts
from dicomnode.scp.receiver import Receiver
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.scp")


def receive(
    settings: Settings,
    listener: socket.socket,
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
    commitment = CommitmentReceiver(database, spool)
    handlers = [
        *receiver.handlers(),
        *ProcedureReceiver(database).handlers(),
        *commitment.handlers(),
    ]
    server = ReceivingServer(_entity(settings), listener, settings.scp, handlers)
    intake.start()
    commitment.start()
    accepting = threading.Thread(target=server.serve_forever, name="accept", daemon=True)
    accepting.start()
    LOGGER.info("receiving", extra={"port": settings.scp.port, "receiver": receiver_id})
    ready()
    while not stop.wait(0.25):
        receiver.close_ended()
        if not (intake.is_alive() and accepting.is_alive()):
            raise DicomnodeError("a thread of the receiver died; see the log")
        alive()
    server.shutdown()
    commitment.stop()
    finish_associations(server)
    receiver.close_ended()
    intake.stop()
    database.close()


def _entity(settings: Settings) -> ApplicationEntity:
    """C-ECHO, C-STORE, MPPS, IAN and Storage Commitment."""
    entity = accepting_entity(settings.scp)
    add_contexts(entity)
    add_context(entity)
    return entity
