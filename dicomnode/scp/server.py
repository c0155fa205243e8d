"""Start and stop receiving: one process, or several that accept from one listening socket.

Several processes share the parent's socket (pre-fork) rather than each binding its own
(SO_REUSEPORT): no connection is lost in the queue of a process that died, the port stays open
while it is replaced, and a second node on the port is found out.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pynetdicom import _config as pynetdicom_config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicomnode.config import Settings
from dicomnode.dicom.file_format import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    read_received,
)
from dicomnode.errors import DicomnodeError
from dicomnode.scp.listener import ReceivingServer, listen
from dicomnode.scp.receiver import Receiver
from dicomnode.tracking import associations
from dicomnode.tracking.database import Database
from dicomnode.tracking.indexer import Indexer
from dicomnode.tracking.rebuild import reconcile
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.scp")

_GRACE_SECONDS = 5.0
_RESTART_SECONDS = 1.0
_STOP_SECONDS = 30.0
_START_SECONDS = 60.0


def _nothing() -> None:
    return


def serve(
    settings: Settings,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    prepare_child: Callable[[], None] = _nothing,
) -> None:
    """Receive until `stop` is set; returns when open associations have ended or were aborted.

    `ready` is called once associations are accepted. `prepare_child` runs first in each child
    process (logging); it must be importable by name. Raises `PortInUseError`, `DatabaseError`.
    """
    listener = listen(settings.scp.host, settings.scp.port)
    with listener:
        database, spool = _open(settings)
        spool.remove_abandoned()
        with database.begin() as connection:
            associations.close_lost(connection, datetime.now(UTC))
        rebuilding = threading.Thread(
            target=_rebuild, args=(database, spool, stop), name="rebuild", daemon=True
        )
        rebuilding.start()
        if settings.scp.processes == 1:
            _receive(settings, listener, ready, stop)
        else:
            _Supervisor(settings, listener, prepare_child).run(ready, stop)
        rebuilding.join(_GRACE_SECONDS)
        database.close()


def _open(settings: Settings) -> tuple[Database, Spool]:
    database = Database(settings.database_url)
    database.migrate()
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    spool.prepare()
    return database, spool


def _rebuild(database: Database, spool: Spool, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            reconcile(database, spool, read_received, stop.is_set)
            return
        except DicomnodeError as error:
            LOGGER.error("rows can't be rebuilt now", extra={"error": str(error)})
            stop.wait(_RESTART_SECONDS * 5)


def _receive(
    settings: Settings, listener: socket.socket, ready: Callable[[], None], stop: threading.Event
) -> None:
    """One receiving process."""
    receiver_id = uuid.uuid4().hex
    database = Database(settings.database_url)
    spool = Spool(settings.spool_folder, settings.scp.minimum_free_bytes)
    indexer = Indexer(database, receiver_id, lambda: reconcile(database, spool, read_received))
    receiver = Receiver(settings.scp, spool, indexer, receiver_id)
    server = ReceivingServer(_entity(settings), listener, settings.scp, receiver.handlers())
    indexer.start()
    accepting = threading.Thread(target=server.serve_forever, name="accept", daemon=True)
    accepting.start()
    LOGGER.info("receiving", extra={"port": settings.scp.port, "receiver": receiver_id})
    ready()
    while not stop.wait(0.25):
        receiver.close_ended()
    server.shutdown()
    _finish_associations(server)
    receiver.close_ended()
    indexer.stop()
    database.close()


def _entity(settings: Settings) -> ApplicationEntity:
    """C-ECHO, and C-STORE for every storage, private or unknown SOP class and transfer syntax.

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


class _Supervisor:
    """Keeps `scp.processes` receiving children alive; a child that died is replaced."""

    def __init__(
        self, settings: Settings, listener: socket.socket, prepare_child: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._prepare_child = prepare_child
        self._context = multiprocessing.get_context("spawn")
        self._children: list[BaseProcess] = []

    def run(self, ready: Callable[[], None], stop: threading.Event) -> None:
        try:
            reports = [self._start() for _ in range(self._settings.scp.processes)]
            self._await_ready(reports, stop)
            if not stop.is_set():
                ready()
            while not stop.is_set():
                wait([child.sentinel for child in self._children], timeout=0.5)
                self._replace_dead(stop)
        finally:
            self._stop()

    def _start(self) -> Connection:
        ours, theirs = self._context.Pipe(duplex=False)
        child = self._context.Process(
            target=_child,
            args=(self._settings, self._listener, theirs, self._prepare_child),
            name="dicomnode-receiver",
        )
        child.start()
        theirs.close()
        self._children.append(child)
        return ours

    def _await_ready(self, reports: list[Connection], stop: threading.Event) -> None:
        deadline = time.monotonic() + _START_SECONDS
        waiting = list(reports)
        while waiting and not stop.is_set():
            for report in wait(waiting, timeout=0.2):
                waiting.remove(report)  # type: ignore[arg-type]
            if time.monotonic() > deadline:
                raise DicomnodeError("a receiving process did not start in time; see its log")

    def _replace_dead(self, stop: threading.Event) -> None:
        for child in [child for child in self._children if not child.is_alive()]:
            LOGGER.error("a receiving process died", extra={"exit_code": child.exitcode})
            self._children.remove(child)
            if not stop.wait(_RESTART_SECONDS):
                self._start()

    def _stop(self) -> None:
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children:
            child.join(max(deadline - time.monotonic(), 0.1))
            if child.is_alive():
                child.kill()
                child.join()


def _child(
    settings: Settings,
    listener: socket.socket,
    report: Connection,
    prepare_child: Callable[[], None],
) -> None:
    """The main function of a child: stops at SIGTERM, and when its parent is gone."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_child()
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    _receive(settings, listener, report.close, stop)


def _stop_with_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()
