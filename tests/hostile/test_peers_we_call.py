"""What a hostile or broken peer sends over an association that this node asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import evt

from dicomnode.config import Settings
from dicomnode.errors import RetrievalError
from dicomnode.retrieval.find import series_counts
from dicomnode.retrieval.study import study_puller
from dicomnode.tracking.database import Database
from tests.factories import make_series, make_uid
from tests.integration.retrieval.sources import STUDY, announces, dicom_source, says, sends

MakeSettings = Callable[..., Settings]
SERIES = make_uid("study", "series")


def settings_for(make_settings: MakeSettings, port: int, **sections: Any) -> Settings:
    source = {"name": "archive", "ae_title": "PACS", "retrieve": "get", "timeout_seconds": 5.0}
    return make_settings(sources=[source | {"port": port}], **sections)


def test_an_answer_that_announces_a_huge_pdu_is_not_read(make_settings: MakeSettings) -> None:
    taken: list[int] = []
    with dicom_source({evt.EVT_C_FIND: announces(0x0FFFFFFF, taken)}) as port:
        settings = settings_for(make_settings, port)
        with pytest.raises(RetrievalError):
            series_counts(settings.sources[0], settings, STUDY)
    assert sum(taken) < 64 << 20


def test_an_object_that_is_longer_than_any_may_be_is_not_held(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (image,) = make_series(tmp_path / "files", slices=1, rows=512, columns=512)
    named = {SERIES: [str(dcmread(image).SOPInstanceUID)]}
    handlers = {evt.EVT_C_FIND: says(named), evt.EVT_C_GET: sends([image])}
    with dicom_source(handlers, storage=[MRImageStorage]) as port:
        settings = settings_for(make_settings, port, scp={"maximum_object_bytes": 100_000})
        database = Database(settings.database_url)
        database.migrate()
        with study_puller(settings.sources[0], settings, database) as puller:
            result = puller.pull(STUDY)
        database.close()
    assert (result.expected, result.received) == (1, 0)


def test_thousands_of_answers_at_once_are_all_read(make_settings: MakeSettings) -> None:
    """They wait on the wire, and are not taken for a flood of requests."""

    def many(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for number in range(3000):
            match = Dataset()
            match.SeriesInstanceUID = f"1.2.{number}"
            match.NumberOfSeriesRelatedInstances = 1
            yield 0xFF00, match

    with dicom_source({evt.EVT_C_FIND: many}) as port:
        settings = settings_for(make_settings, port)
        assert len(series_counts(settings.sources[0], settings, STUDY)) == 3000
