"""The worker takes new destinations without a restart, and loses no job over it."""

from __future__ import annotations

from collections.abc import Callable

from dicomnode.config import DestinationSettings, Settings
from dicomnode.reloading import Apply
from tests.integration.jobs.conftest import Node, pacs, until
from tests.storage_peer import storage_peer


def test_a_waiting_delivery_goes_where_the_new_configuration_says(
    make_node: Callable[..., Node], free_port: int
) -> None:
    """A PACS that moved: its old address does not answer, the new one gets what waited."""
    given: list[Settings] = []

    def reload(apply: Apply) -> None:
        while given:
            apply(given.pop())

    node = make_node(pacs(free_port))
    node.put("before")
    with storage_peer() as peer, node.working(reload=reload):
        until(lambda: any(job.attempts for job in node.jobs() if job.id.startswith("deliver")))
        assert node.states() == ["pending"]
        moved = (DestinationSettings.model_validate(pacs(peer.port)),)
        given.append(node.settings.model_copy(update={"destinations": moved}))
        until(lambda: node.states() == ["delivered"])
        node.put("after")
        until(lambda: node.states() == ["delivered"] * 2)
    assert len(peer.received) == 2
