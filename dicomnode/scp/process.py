"""One receiving process: what it is made of, and how it ends."""

from __future__ import annotations

import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable

from pynetdicom import _config as pynetdicom_config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicomnode.config import Settings
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnode.errors import DicomnodeError
from dicomnode.intake.intake import Intake
from dicomnode.scp.listener import ReceivingServer
from dicomnode.scp.procedure import ProcedureReceiver, add_contexts
from dicomnode.scp.receiver import Receiver
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.scp")
_GRACE_SECONDS = 5.0


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
    handlers = receiver.handlers() + ProcedureReceiver(database).handlers()
    server = ReceivingServer(_entity(settings), listener, settings.scp, handlers)
    intake.start()
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
    _finish_associations(server)
    receiver.close_ended()
    intake.stop()
    database.close()


def _entity(settings: Settings) -> ApplicationEntity:
    """C-ECHO, MPPS, IAN, and C-STORE for every storage, private or unknown SOP class and syntax.

    `UNRESTRICTED_STORAGE_SERVICE` is pynetdicom's documented way to that: the first transfer
    syntax proposed is accepted.
    """
    pynetdicom_config.UNRESTRICTED_STORAGE_SERVICE = True
    _silence_libraries()
    scp = settings.scp
    entity = ApplicationEntity(scp.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = scp.maximum_pdu_bytes
    entity.acse_timeout = scp.acse_timeout_seconds
    entity.dimse_timeout = scp.dimse_timeout_seconds
    entity.network_timeout = scp.network_timeout_seconds
    # The limits of `admission` come first; this one must never decide.
    entity.maximum_associations = scp.maximum_associations * 100
    entity.add_supported_context(Verification)
    add_contexts(entity)
    return entity


def _silence_libraries() -> None:
    """Their logging handlers cost time for every PDU; their warnings quote what peers sent."""
    pynetdicom_config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")


def _finish_associations(server: ReceivingServer) -> None:
    """Let senders finish what they are at, for a moment; then abort."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while server.active_associations and time.monotonic() < deadline:
        time.sleep(0.05)
    for association in server.active_associations:
        association.abort()
