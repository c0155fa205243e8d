"""The sender is asked in its own protocol, and only where it is a source of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicomnode.app.sender_counts import count_at_sender
from dicomnode.config import Settings
from dicomnode.errors import RetrievalError

STUDY, SIZES = "1.2.826.0.5", {"1.2.826.0.5.1": 176, "1.2.826.0.5.2": 3}


@pytest.fixture
def pacs_port() -> Iterator[int]:
    """A PACS that knows one study."""

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        if asked.StudyInstanceUID != STUDY or asked.QueryRetrieveLevel != "SERIES":
            return
        for uid, count in SIZES.items():
            found = Dataset()
            found.QueryRetrieveLevel = "SERIES"
            found.StudyInstanceUID = STUDY
            found.SeriesInstanceUID = uid
            found.NumberOfSeriesRelatedInstances = count
            yield 0xFF00, found

    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    assert server is not None
    yield server.server_address[1]
    server.shutdown()


def sources(port: int) -> list[dict[str, object]]:
    return [{"name": "archive", "ae_title": "PACS", "port": port, "timeout_seconds": 5.0}]


def test_a_source_says_how_many_instances_its_series_have(
    make_settings: Callable[..., Settings], pacs_port: int
) -> None:
    count = count_at_sender(make_settings(sources=sources(pacs_port)))
    assert count is not None
    assert count("PACS", STUDY) == SIZES
    assert not count("PACS", "1.2.3")
    assert count("SCANNER", STUDY) is None


def test_a_source_that_is_away_says_so(
    make_settings: Callable[..., Settings], free_port: int
) -> None:
    count = count_at_sender(make_settings(sources=sources(free_port)))
    assert count is not None
    with pytest.raises(RetrievalError):
        count("PACS", STUDY)


def test_without_sources_nobody_is_asked(make_settings: Callable[..., Settings]) -> None:
    assert count_at_sender(make_settings()) is None
