"""Accepting on open doors under settings that may change: an association keeps those it began
with, the next one has the new ones, and none is lost in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dicomnode.config import Settings
from dicomnode.dimse.entity import finish_associations
from dicomnode.dimse.listener import Door, Servers


@dataclass(frozen=True)
class Served:
    """Servers, and what is to be called again and again for associations that ended silently."""

    servers: Servers
    close_ended: Callable[[], None]


class Serving:
    """`make` builds servers on handles of the listening sockets; connections wait meanwhile in the
    queue of the system."""

    def __init__(
        self, doors: Sequence[Door], make: Callable[[Settings, Sequence[Door]], Served]
    ) -> None:
        self._doors = doors
        self._make = make
        self._served: list[Served] = []

    def begin(self, settings: Settings) -> None:
        """Accept under these settings from now on. Where that can't be done the old ones stay."""
        new = self._make(settings, [door.another_handle() for door in self._doors])
        for old in self._served:
            old.servers.stop_accepting()
        self._served.append(new)
        new.servers.start()

    def look(self) -> None:
        """Close what ended silently, and forget servers whose last association has ended."""
        *old, newest = self._served
        # First: what ended silently meanwhile would stay open in the records of one forgotten.
        ended = [each for each in old if not each.servers.entity.active_associations]
        for served in self._served:
            served.close_ended()
        self._served = [each for each in old if each not in ended] + [newest]

    def is_alive(self) -> bool:
        return bool(self._served) and self._served[-1].servers.are_alive()

    def stop_accepting(self) -> None:
        """Open associations go on."""
        for served in self._served:
            served.servers.stop_accepting()

    def end(self) -> None:
        """Accept no more; open associations get a moment to end, and are aborted then."""
        self.stop_accepting()
        finish_associations([served.servers.entity for served in self._served])
        for served in self._served:
            served.close_ended()
