"""The server on a listening socket; several processes can accept from one."""

from __future__ import annotations

import logging
import socket
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import AssociationServer

from dicomnode.config import SCPSettings
from dicomnode.dimse.received import open_by_peer

LOGGER = logging.getLogger("dicomnode.scp")

# Connections above the limits that still get an answer (A-ASSOCIATE-RJ); more are closed at once.
_ANSWERED_ABOVE_LIMIT = 8


class ReceivingServer(AssociationServer):
    """pynetdicom's server on a socket that is listening already."""

    def __init__(
        self,
        entity: ApplicationEntity,
        listener: socket.socket,
        settings: SCPSettings,
        handlers: list[Any],
    ) -> None:
        self._listener = listener
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
