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


def test_what_a_new_policy_no_longer_wants_a_person_for_makes_room(
    make_node: Callable[..., Node],
) -> None:
    given: list[Settings] = []

    def reload(apply: Apply) -> None:
        while given:
            apply(given.pop())

    node = make_node(
        retention={"remove": "always", "days": 0.0, "poll_seconds": 0.05},
        gate={"review_verdicts": ["DEFACED"]},
    )
    files = node.settings.spool_folder / "objects"
    with node.working(reload=reload):
        node.put("one")
        until(lambda: [s.state for study in node.status() for s in study.series] == ["examined"])
        assert len(list(files.rglob("*.dcm"))) == 3
        nobody = node.settings.gate.model_copy(update={"review_verdicts": ()})
        given.append(node.settings.model_copy(update={"gate": nobody}))
        until(lambda: list(files.rglob("*.dcm")) == [])
