"""Servers of earlier settings are forgotten, and none of their associations with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from dicomnode.config import Settings
from dicomnode.dimse.serving import Served, Serving


@dataclass
class Accepting:
    """Servers with one association, which ends without an event at the `ends_at`th look at it."""

    ends_at: int
    looks: int = 0
    closed: list[str] = field(default_factory=list)

    @property
    def entity(self) -> Accepting:
        return self

    @property
    def active_associations(self) -> list[str]:
        self.looks += 1
        return [] if self.looks >= self.ends_at else ["an association"]

    def close_ended(self) -> None:
        if not self.active_associations:
            self.closed.append("an association")

    def start(self) -> None:
        """It accepts."""

    stop_accepting = start


def test_an_association_that_ends_between_two_looks_is_closed_all_the_same() -> None:
    for ends_at in (1, 2, 3, 4):
        old, new = Accepting(ends_at), Accepting(100)
        left = [old, new]

        def make(_settings: Settings, _doors: Any, left: list[Accepting] = left) -> Served:
            servers = left.pop(0)
            return Served(cast(Any, servers), servers.close_ended)

        serving = Serving([], make)
        serving.begin(Settings())
        serving.begin(Settings())
        for _ in range(4):
            serving.look()
        assert old.closed, ends_at
        looked = old.looks
        serving.look()
        assert old.looks == looked, "it is forgotten"
