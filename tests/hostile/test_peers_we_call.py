"""What a hostile or broken peer sends over an association that this node asked for."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import evt

from dicomnode.config import Settings
from dicomnode.errors import RetrievalError
from dicomnode.retrieval.find import matching_studies, series_counts
from dicomnode.retrieval.study import Pulled, study_puller
from dicomnode.tracking import pulls
from dicomnode.tracking.database import Database
from tests.factories import make_series, make_uid
from tests.integration.retrieval.sources import (
    STUDY,
    Page,
    announces,
    dicom_source,
    says,
    sends,
    trickling_source,
    web_source,
)

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


def pull(settings: Settings) -> Pulled:
    database = Database(settings.database_url)
    database.migrate()
    try:
        with study_puller(settings.sources[0], settings, database) as puller:
            return puller.pull(STUDY)
    finally:
        database.close()


def test_a_source_that_never_ends_its_answer_is_left(make_settings: MakeSettings) -> None:
    def never_done(_event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        match = Dataset()
        match.SeriesInstanceUID = SERIES
        while True:
            time.sleep(0.01)
            yield 0xFF00, match

    with dicom_source({evt.EVT_C_FIND: never_done}) as port:
        settings = settings_for(make_settings, port, pull={"study_timeout_seconds": 1.0})
        with pytest.raises(RetrievalError, match=r"pull\.study_timeout_seconds"):
            series_counts(settings.sources[0], settings, STUDY)


def test_a_source_that_never_ends_its_study_is_left(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (image,) = make_series(tmp_path / "files", slices=1)

    def never_done(_event: evt.Event) -> Iterator[Any]:
        yield 60_000
        while True:
            yield 0xFF00, dcmread(image)

    handlers = {evt.EVT_C_FIND: says({SERIES: ["1.2.3"]}), evt.EVT_C_GET: never_done}
    with dicom_source(handlers, storage=[MRImageStorage]) as port:
        result = pull(settings_for(make_settings, port, pull={"study_timeout_seconds": 1.0}))
    assert (result.expected, result.received) == (1, 0)
    assert "pull.study_timeout_seconds" in result.sentence


def test_an_answer_that_trickles_is_left(make_settings: MakeSettings) -> None:
    with trickling_source(study_pages) as url:
        result = pull(web_settings(make_settings, url, study_timeout_seconds=1.0))
    assert not result.is_whole
    assert "pull.study_timeout_seconds" in result.sentence


def web_settings(make_settings: MakeSettings, url: str, **pull: Any) -> Settings:
    source = {"name": "archive", "retrieve": "wado", "url": url, "timeout_seconds": 5.0}
    return make_settings(sources=[source], pull=pull)


def rows(tag: str, *uids: str) -> list[dict[str, Any]]:
    return [{tag: {"vr": "UI", "Value": [uid]}} for uid in uids]


def study_pages(path: str) -> list[dict[str, Any]]:
    if "offset=0" not in path:
        return []
    (series,) = rows("0020000E", SERIES)
    if "/instances" in path:
        return [series | rows("00080018", "1.2.3")[0]]
    return [series | {"00201209": {"vr": "IS", "Value": [1]}}]


def test_the_same_page_again_and_again_is_no_complete_answer(make_settings: MakeSettings) -> None:
    page = json.dumps(rows("0020000D", "1.2.1", "1.2.2")).encode()
    with web_source(lambda *_: (200, "application/dicom+json", page)) as url:
        settings = web_settings(make_settings, url)
        with pytest.raises(RetrievalError, match="same rows for every offset"):
            matching_studies(settings.sources[0], settings, {})


def test_a_warning_that_there_is_more_is_believed(make_settings: MakeSettings) -> None:
    warning = {"Warning": '299 pacs "There are additional results that can be requested"'}

    def pages(path: str, _headers: Mapping[str, str]) -> Page:
        found = rows("0020000D", "1.2.1") if "offset=0" in path else []
        return 200, "application/dicom+json", json.dumps(found).encode()

    with web_source(pages, warning) as url:
        settings = web_settings(make_settings, url)
        with pytest.raises(RetrievalError, match="a warning that there is more"):
            matching_studies(settings.sources[0], settings, {})


def test_pages_without_end_are_left(make_settings: MakeSettings) -> None:
    numbers = itertools.count(1)

    def pages(_path: str, _headers: Mapping[str, str]) -> Page:
        found = rows("0020000D", f"1.2.{next(numbers)}")
        return 200, "application/dicom+json", json.dumps(found).encode()

    with web_source(pages) as url:
        settings = web_settings(make_settings, url, study_timeout_seconds=1.0)
        with pytest.raises(RetrievalError, match=r"more than|study_timeout_seconds"):
            matching_studies(settings.sources[0], settings, {})


IMPATIENT = """
import sys
from dicomnode.commands import pull
pull._LONGEST_STOP_SECONDS = 0.5
from dicomnode.cli import main
main()
"""


def test_one_signal_ends_a_pull_that_gets_nowhere(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """It does not wait for the study in flight without end; the study stays pending."""
    begun = tmp_path / "begun"
    with trickling_source(study_pages, begun) as url:
        config = tmp_path / "config.toml"
        data = make_settings().node.data_folder
        config.write_text(
            f'[node]\ndata_folder = "{data}"\n[scp]\nminimum_free_bytes = 0\n'
            f'[[sources]]\nname = "archive"\nretrieve = "wado"\nurl = "{url}"\n'
        )
        command = ["pull", "--from", "archive", "--study", STUDY, "-c", str(config)]
        process = subprocess.Popen([sys.executable, "-c", IMPATIENT, *command])
        try:
            while not begun.exists():
                assert process.poll() is None
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(60) != 0
        finally:
            process.kill()
    database = Database(make_settings().database_url)
    with database.read() as connection:
        (found,) = pulls.unfinished(connection, "archive", 1)
    database.close()
    assert (found.study_instance_uid, found.state) == (STUDY, pulls.PullState.PENDING)


def test_a_query_from_standard_input_reaches_the_source_and_nothing_else(
    tmp_path: Path,
) -> None:
    asked: list[str] = []

    def pages(path: str, _headers: Mapping[str, str]) -> Page:
        asked.append(path)
        return 200, "application/dicom+json", b"[]"

    config = tmp_path / "config.toml"
    with web_source(pages) as url:
        config.write_text(
            f'[node]\ndata_folder = "{tmp_path / "data"}"\n'
            f'[[sources]]\nname = "archive"\nretrieve = "wado"\nurl = "{url}"\n'
        )
        command = [sys.executable, "-m", "dicomnode.cli", "pull", "--from", "archive"]
        ran = subprocess.run(
            [*command, "--query-file", "-", "-c", str(config)],
            input="PatientID=SECRET-7\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert (ran.returncode, "no study that matches" in ran.stderr) == (1, True)
    assert len(asked) == 1
    assert "PatientID=SECRET-7" in asked[0]
    assert "SECRET" not in ran.stderr + ran.stdout
