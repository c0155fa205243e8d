"""The servers on listening sockets, with TLS and without; several processes can accept from one."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import AssociationServer

from dicomnode.config import SCPSettings
from dicomnode.config_gate_ae import GateAESettings
from dicomnode.config_tls import DicomTLSSettings
from dicomnode.dimse.received import open_by_peer
from dicomnode.intake.listening import listen
from dicomnode.tls import ServerTLS

LOGGER = logging.getLogger("dicomnode.scp")

# Connections above the limits that still get an answer (A-ASSOCIATE-RJ); more are closed at once.
_ANSWERED_ABOVE_LIMIT = 8


@dataclass(frozen=True)
class Door:
    """A listening socket, and the TLS that is spoken there; it can be handed to a child process."""

    listener: socket.socket
    section: str
    tls: DicomTLSSettings | None = None

    def another_handle(self) -> Door:
        """Of the same socket, to be closed by itself."""
        return replace(self, listener=self.listener.dup())


@contextmanager
def doors(settings: SCPSettings | GateAESettings, section: str) -> Iterator[tuple[Door, ...]]:
    """The plain one, the one with TLS, or both. Raises as `listen` and `ServerTLS` do."""
    tls = settings.tls
    with ExitStack() as stack:
        opened = []
        if tls is None or not tls.only:
            plain = stack.enter_context(listen(settings.host, settings.port, section))
            opened.append(Door(plain, section))
        if tls is not None:
            ServerTLS(tls, f"{section}.tls")  # files that can't be used are told at the start
            encrypted = stack.enter_context(listen(settings.host, tls.port, f"{section}.tls"))
            opened.append(Door(encrypted, section, tls))
        yield tuple(opened)


class Servers:
    """One server for each door, all of one Application Entity: its limits count for all of them."""

    def __init__(
        self,
        entity: ApplicationEntity,
        doors: Sequence[Door],
        settings: SCPSettings,
        handlers: list[Any],
    ) -> None:
        self.entity = entity
        self._servers = [ReceivingServer(entity, door, settings, handlers) for door in doors]
        self._threads = [
            threading.Thread(target=server.serve_forever, name="accept", daemon=True)
            for server in self._servers
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def are_alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def stop_accepting(self) -> None:
        """Any number of times; open associations go on."""
        for server in self._servers:
            server.stop_accepting()


class ReceivingServer(AssociationServer):
    """pynetdicom's server on a socket that is listening already."""

    def __init__(
        self, entity: ApplicationEntity, door: Door, settings: SCPSettings, handlers: list[Any]
    ) -> None:
        self._listener = listener = door.listener
        self._tls = ServerTLS(door.tls, f"{door.section}.tls") if door.tls else None
        self._settings = settings
        super().__init__(
            entity,
            listener.getsockname(),
            settings.ae_title,
            entity.supported_contexts,
            evt_handlers=handlers,
        )

    def server_bind(self) -> None:
        self._close()
        self.socket = self._listener
        # A sibling may accept what both were woken for: who waited for the next connection then
        # could not stop.
        self.socket.setblocking(False)
        self.server_address = self._listener.getsockname()

    def server_activate(self) -> None:
        """It is listening already."""

    def server_close(self) -> None:
        """Close this process' handle only: a shutdown would end the socket for its siblings."""
        self._close()

    def shutdown(self) -> None:
        """Stop accepting; open associations go on."""
        super(AssociationServer, self).shutdown()
        self.server_close()

    def stop_accepting(self) -> None:
        """As `shutdown`, any number of times."""
        if self.socket is not None and self.socket.fileno() != -1:
            self.shutdown()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        # Without it a sender that waits for each answer waits for delayed acknowledgements.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(self._settings.network_timeout_seconds)
        if self._tls is not None:
            # The handshake waits for the thread of the association (`delivery.guard`).
            connection = self._tls.context().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Before a thread is spent: silent connections must not use up all places."""
        by_peer = open_by_peer(self.ae)
        per_peer = self._settings.maximum_associations_per_peer + _ANSWERED_ABOVE_LIMIT
        in_all = self._settings.maximum_associations + _ANSWERED_ABOVE_LIMIT
        peer = client_address[0]
        if by_peer[peer] < per_peer and by_peer.total() < in_all:
            return True
        LOGGER.warning("connection closed: too many are open", extra={"peer": peer})
        return False

    def _close(self) -> None:
        if self.socket is not None:
            self.socket.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOGGER.exception("a connection could not be served", extra={"peer": client_address[0]})
