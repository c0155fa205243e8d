"""One HTTP role for a whole module, and a series of its own for each test in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import make_series
from tests.integration.scp.receiving import Node
from tests.integration.web.stow import running_web, web_settings

__all__ = ["images", "node", "shared_node"]


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("web")
    settings = web_settings(folder, scp={"network_timeout_seconds": 2.0})
    with running_web(settings, folder / "node") as started:
        yield started


@pytest.fixture
def node(shared_node: Node) -> Node:
    return shared_node.mark()


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A series of its own for each test."""
    return make_series(tmp_path / "made", slices=3, study=tmp_path.name, series=tmp_path.name)
