"""Accepting on one socket under settings that may change: an association keeps those it began
with, the next one has the new ones, and none is lost in between.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from dicomnode.config import Settings
from dicomnode.dimse.entity import finish_associations
from dicomnode.dimse.listener import ReceivingServer


@dataclass(frozen=True)
class Served:
    """A server, and what is to be called again and again for associations that ended silently."""

    server: ReceivingServer
    close_ended: Callable[[], None]


class Serving:
    """`make` builds a server on a handle of the listening socket; connections wait meanwhile in
    the queue of the system."""

    def __init__(
        self, listener: socket.socket, make: Callable[[Settings, socket.socket], Served]
    ) -> None:
        self._listener = listener
        self._make = make
        self._served: list[Served] = []
        self._accepting: threading.Thread | None = None

    def begin(self, settings: Settings) -> None:
        """Accept under these settings from now on. Where that can't be done the old ones stay."""
        new = self._make(settings, self._listener.dup())
        for old in self._served:
            old.server.stop_accepting()
        self._served.append(new)
        self._accepting = threading.Thread(
            target=new.server.serve_forever, name="accept", daemon=True
        )
        self._accepting.start()

    def look(self) -> None:
        """Close what ended silently, and forget servers whose last association has ended."""
        for served in self._served:
            served.close_ended()
        *old, newest = self._served
        self._served = [each for each in old if each.server.active_associations] + [newest]

    def is_alive(self) -> bool:
        return self._accepting is not None and self._accepting.is_alive()

    def end(self) -> None:
        """Accept no more; open associations get a moment to end, and are aborted then."""
        for served in self._served:
            served.server.stop_accepting()
        finish_associations([served.server for served in self._served])
        for served in self._served:
            served.close_ended()
