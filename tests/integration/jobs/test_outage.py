"""PostgreSQL goes away in the middle of the work and comes back: nothing is lost, no job fails."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests import postgres, small_node
from tests.integration.jobs.conftest import Node, pacs, until
from tests.storage_peer import storage_peer


@pytest.mark.peer
def test_work_goes_on_after_the_database_was_away(make_node: Callable[..., Node]) -> None:
    if postgres.missing():
        pytest.skip(postgres.missing())
    series = 6
    with postgres.server() as url, storage_peer() as peer:
        node = make_node(pacs(peer.port), url=url)
        for number in range(series):
            node.put(f"series {number}")
        with node.working(small_node.stages(node.settings, lambda: 0.3)):
            until(lambda: len(peer.received) >= 2)
            with postgres.crashed(url):
                time.sleep(3.0)
            until(lambda: node.states() == ["delivered"] * series, seconds=60)
            until(lambda: node.jobs() == [])
            assert [study.verdict for study in node.status()] == ["DEFACED"] * series
    assert len(peer.received) == series
