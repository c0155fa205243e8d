"""Sources that refuse, break off, say nothing or babble: each ends in a sentence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import evt

from dicomnode.app.checkup import examine_site
from dicomnode.config import Settings
from dicomnode.errors import (
    ConfigurationError,
    OutOfSpaceError,
    RetrievalError,
    SourceUnavailableError,
)
from dicomnode.retrieval import study
from dicomnode.retrieval.deadline import Deadline
from dicomnode.retrieval.find import matching_studies, series_counts
from dicomnode.retrieval.move import Mover
from dicomnode.retrieval.study import Pulled, study_puller
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import expected_counts
from tests.databases import *  # noqa: F403
from tests.factories import make_series, make_uid
from tests.integration.retrieval.sources import (
    CUT,
    STUDY,
    Page,
    babbling_source,
    dicom_source,
    says,
    sends,
    silent_source,
    web_source,
)

MakeSettings = Callable[..., Settings]
SERIES = make_uid("study", "series")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return make_series(tmp_path / "files", slices=5, rows=8, columns=8)


@pytest.fixture
def instances(files: list[Path]) -> dict[str, list[str]]:
    return {SERIES: [str(dcmread(path).SOPInstanceUID) for path in files]}


@pytest.fixture
def pulled(make_settings: MakeSettings) -> Callable[..., Pulled]:
    """Pull the study from a source with these settings."""

    def pull(**source: Any) -> Pulled:
        settings = settings_for(make_settings, **source)
        database = Database(settings.database_url)
        database.migrate()
        try:
            with study_puller(settings.sources[0], settings, database) as puller:
                return puller.pull(STUDY)
        finally:
            database.close()

    return pull


@pytest.fixture(autouse=True)
def _rows_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a source did not send is waited for at the end of each study."""
    monkeypatch.setattr(study, "_ROWS_SECONDS", 2.0)


def settings_for(make_settings: MakeSettings, **source: Any) -> Settings:
    values = {"name": "archive", "ae_title": "PACS", "retrieve": "get", "timeout_seconds": 2.0}
    return make_settings(sources=[values | source])


def test_what_a_source_sends_by_get_is_here(
    pulled: Callable[..., Pulled], files: list[Path], instances: dict[str, list[str]]
) -> None:
    handlers = {evt.EVT_C_FIND: says(instances), evt.EVT_C_GET: sends(files)}
    with dicom_source(handlers, storage=[MRImageStorage]) as port:
        result = pulled(port=port)
    assert (result.expected, result.received, result.is_whole) == (5, 5, True)


def test_a_source_that_breaks_off_is_said_to_have_sent_a_part(
    pulled: Callable[..., Pulled], files: list[Path], instances: dict[str, list[str]]
) -> None:
    handlers = {evt.EVT_C_FIND: says(instances), evt.EVT_C_GET: sends(files, abort_after=3)}
    with dicom_source(handlers, storage=[MRImageStorage]) as port:
        result = pulled(port=port)
    assert (result.expected, result.received, result.is_whole) == (5, 3, False)
    assert "source archive (PACS at 127.0.0.1" in result.sentence
    assert "3 completed, 0 failed, 0 warning so far" in result.sentence


def test_instances_that_the_source_counts_and_does_not_name_are_missed(
    pulled: Callable[..., Pulled], files: list[Path], instances: dict[str, list[str]]
) -> None:
    handlers = {evt.EVT_C_FIND: says(instances, named=2), evt.EVT_C_GET: sends(files[:4])}
    with dicom_source(handlers, storage=[MRImageStorage]) as port:
        result = pulled(port=port)
    assert (result.expected, result.received) == (5, 4)


def test_a_source_that_does_not_count_is_asked_for_each_instance(
    make_settings: MakeSettings, instances: dict[str, list[str]]
) -> None:
    with dicom_source({evt.EVT_C_FIND: says(instances, counts=False)}) as port:
        settings = settings_for(make_settings, port=port)
        assert series_counts(settings.sources[0], settings, STUDY) == {SERIES: 5}


def test_the_counts_are_recorded_before_anything_is_sent(
    make_settings: MakeSettings, pulled: Callable[..., Pulled], instances: dict[str, list[str]]
) -> None:
    with dicom_source({evt.EVT_C_FIND: says(instances)}, storage=[MRImageStorage]) as port:
        assert not pulled(port=port).is_whole
        database = Database(settings_for(make_settings, port=port).database_url)
    with database.read() as connection:
        (row,) = connection.execute(expected_counts.select()).all()
    assert (row.series_instance_uid, row.instance_count, row.source) == (SERIES, 5, "pull")
    database.close()


@pytest.mark.timeout(60)
def test_an_answer_that_can_not_be_read_ends_the_question(
    pulled: Callable[..., Pulled],
    instances: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pynetdicom hands it out while it holds a lock that the end of the association waits for."""

    def decode(*_: object) -> Dataset:
        raise ValueError("cut off")

    with dicom_source({evt.EVT_C_FIND: says(instances)}) as port:
        monkeypatch.setattr("pynetdicom.association.decode", decode)
        for _ in range(3):
            with pytest.raises(RetrievalError, match="can't be read"):
                pulled(port=port)


@pytest.mark.parametrize("count", ["inf", "12\\13", "99999999999999999999"])
def test_a_count_that_is_none_is_no_answer(
    pulled: Callable[..., Pulled], instances: dict[str, list[str]], count: str
) -> None:
    def answers(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for status, match in says(instances)(event):
            if "NumberOfSeriesRelatedInstances" in match:
                del match.NumberOfSeriesRelatedInstances
                match.add(DataElement(0x00201209, "LO", count))
            yield status, match

    with dicom_source({evt.EVT_C_FIND: answers}, storage=[MRImageStorage]) as port:
        assert pulled(port=port).expected == len(instances[SERIES])


def test_one_study_without_a_uid_hides_no_other(make_settings: MakeSettings) -> None:
    def answers(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for uid in ("1.2", "none", "1.3", "1.2"):
            match = Dataset()
            match.add(DataElement(0x0020000D, "LO", uid))
            yield 0xFF00, match

    with dicom_source({evt.EVT_C_FIND: answers}) as port:
        settings = settings_for(make_settings, port=port)
        found = matching_studies(settings.sources[0], settings, {"StudyDate": "20240101"})
    assert found == ["1.2", "1.3"]


def out_of_resources(_event: evt.Event) -> Iterator[tuple[int, None]]:
    yield 0xA700, None


def hangs(_event: evt.Event) -> Iterator[tuple[int, None]]:
    time.sleep(3)
    yield 0x0000, None


@pytest.mark.parametrize("handler", [out_of_resources, hangs])
def test_a_source_that_can_not_answer_now_is_away(
    pulled: Callable[..., Pulled], handler: Callable[[evt.Event], object]
) -> None:
    """It is no fault of the study."""
    with (
        dicom_source({evt.EVT_C_FIND: handler}) as port,
        pytest.raises(SourceUnavailableError),
    ):
        pulled(port=port, timeout_seconds=1.0)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_service_that_is_busy_or_down_is_away(pulled: Callable[..., Pulled], status: int) -> None:
    with (
        web_source(lambda _path, _headers: (status, "text/plain", b"")) as url,
        pytest.raises(SourceUnavailableError, match=str(status)),
    ):
        pulled(retrieve="wado", url=url)


def test_a_source_that_only_sends_to_others_is_not_asked_to_get(
    pulled: Callable[..., Pulled], instances: dict[str, list[str]]
) -> None:
    with (
        dicom_source({evt.EVT_C_FIND: says(instances)}) as port,
        pytest.raises(SourceUnavailableError, match='set retrieve = "move"'),
    ):
        pulled(port=port)


def test_a_refused_association_names_the_reason(pulled: Callable[..., Pulled]) -> None:
    with (
        dicom_source({}, ae_title="OTHER") as port,
        pytest.raises(SourceUnavailableError, match=r"(?i)called AE title not recognised"),
    ):
        pulled(port=port)


def test_a_study_that_the_source_does_not_have_is_said_so(pulled: Callable[..., Pulled]) -> None:
    with (
        dicom_source({evt.EVT_C_FIND: says({})}) as port,
        pytest.raises(RetrievalError, match="no such study"),
    ):
        pulled(port=port)


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00])
def test_a_query_that_fails_is_no_empty_answer(pulled: Callable[..., Pulled], status: int) -> None:
    with (
        dicom_source({evt.EVT_C_FIND: lambda _event: iter([(status, None)])}) as port,
        pytest.raises(RetrievalError, match=f"0x{status:04X}"),
    ):
        pulled(port=port)


def test_an_unknown_move_destination_is_explained(
    make_settings: MakeSettings, instances: dict[str, list[str]]
) -> None:
    def nowhere(_event: evt.Event) -> Any:
        yield None, None

    with dicom_source({evt.EVT_C_FIND: says(instances), evt.EVT_C_MOVE: nowhere}) as port:
        settings = settings_for(make_settings, port=port, retrieve="move")
        mover = Mover(settings.sources[0], settings, lambda _uid: 0)
        with pytest.raises(SourceUnavailableError, match="doesn't know AE title DICOMNODE"):
            mover.retrieve(STUDY, (), Deadline(60))


def test_a_move_that_the_source_can_not_do_asks_whether_it_knows_this_node(
    make_settings: MakeSettings,
) -> None:
    def fails(_event: evt.Event) -> Any:
        raise ValueError("no such destination")  # pynetdicom answers 0xC514

    with dicom_source({evt.EVT_C_MOVE: fails}) as port:
        settings = settings_for(make_settings, port=port, retrieve="move")
        mover = Mover(settings.sources[0], settings, lambda _uid: 0)
        report = mover.retrieve(STUDY, (), Deadline(60))
    assert not report.succeeded
    assert "does it know AE title DICOMNODE" in report.sentence


def test_what_this_node_refuses_is_a_failed_sub_operation(
    pulled: Callable[..., Pulled],
    files: list[Path],
    instances: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    stray = make_series(tmp_path / "stray", slices=1, rows=8, columns=8, study="another")
    handlers = {evt.EVT_C_FIND: says(instances), evt.EVT_C_GET: sends(files[:4] + stray)}
    with dicom_source(handlers, storage=[MRImageStorage]) as port:
        result = pulled(port=port)
    assert (result.expected, result.received) == (5, 4)
    assert "4 completed, 1 failed" in result.sentence
    assert "1 refused and in quarantine here" in result.sentence


@pytest.mark.parametrize("retrieve", ["get", "wado"])
def test_a_full_disk_is_no_fault_of_the_study(
    make_settings: MakeSettings,
    files: list[Path],
    instances: dict[str, list[str]],
    retrieve: str,
) -> None:
    handlers = {evt.EVT_C_FIND: says(instances), evt.EVT_C_GET: sends(files)}
    with (
        dicom_source(handlers, storage=[MRImageStorage]) as port,
        web_source(site(files, instances, (200, RELATED, multipart(files)))) as url,
    ):
        source = {"name": "archive", "ae_title": "PACS", "retrieve": retrieve, "port": port}
        settings = make_settings(sources=[source | {"url": url}], scp={"minimum_free_bytes": 2**60})
        database = Database(settings.database_url)
        with (
            study_puller(settings.sources[0], settings, database) as puller,
            pytest.raises(OutOfSpaceError),
        ):
            puller.pull(STUDY)
        database.close()


@pytest.mark.peer
def test_what_comes_has_its_rows_in_either_database(
    make_settings: MakeSettings,
    files: list[Path],
    instances: dict[str, list[str]],
    database: Database,
) -> None:
    """Both databases, with real files."""
    handlers = {evt.EVT_C_FIND: says(instances), evt.EVT_C_GET: sends(files)}
    url = database.url.render_as_string(hide_password=False)
    with dicom_source(handlers, storage=[MRImageStorage]) as port:
        source = {"name": "archive", "ae_title": "PACS", "retrieve": "get", "port": port}
        settings = make_settings(sources=[source], database={"url": url})
        with study_puller(settings.sources[0], settings, database) as puller:
            assert puller.pull(STUDY).is_whole
            assert puller.pull(STUDY).sentence == "it was here already"


def test_a_silent_source_is_not_waited_for_forever(pulled: Callable[..., Pulled]) -> None:
    with silent_source() as port, pytest.raises(SourceUnavailableError, match="did not answer"):
        pulled(port=port, timeout_seconds=0.5)


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x02\0\0\0\0\x04junk"])
def test_a_source_that_babbles_is_left(pulled: Callable[..., Pulled], words: bytes) -> None:
    with babbling_source(words) as port, pytest.raises(SourceUnavailableError):
        pulled(port=port, timeout_seconds=0.5)


def test_a_source_that_is_not_there_is_said_so(
    pulled: Callable[..., Pulled], free_port: int
) -> None:
    with pytest.raises(SourceUnavailableError, match="does not accept connections"):
        pulled(port=free_port)
    with pytest.raises(SourceUnavailableError, match="does not accept connections"):
        pulled(retrieve="wado", url=f"http://127.0.0.1:{free_port}/dicom-web")


# DICOMweb


def rows(*pairs: Mapping[str, str]) -> bytes:
    found = [{tag: {"vr": "UI", "Value": [value]} for tag, value in row.items()} for row in pairs]
    return json.dumps(found).encode()


def site(files: list[Path], instances: dict[str, list[str]], study: Page) -> Callable[..., Page]:
    """QIDO-RS that knows the study, and one answer to WADO-RS."""

    def pages(path: str, _headers: Mapping[str, str]) -> Page:
        if "offset=0" not in path and "?" in path:
            return 200, "application/dicom+json", b"[]"
        if path.startswith(f"/dicom-web/studies/{STUDY}/series?"):
            return 200, "application/dicom+json", rows({"0020000E": SERIES, "00201209": "5"})
        if path.startswith(f"/dicom-web/studies/{STUDY}/instances?"):
            named = [{"0020000E": SERIES, "00080018": uid} for uid in instances[SERIES]]
            return 200, "application/dicom+json", rows(*named)
        return study

    return pages


def multipart(files: list[Path]) -> bytes:
    parts = (
        b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n"
        for path in files
    )
    return b"".join(parts) + b"--edge--"


JPEG = b"image/jpeg"
RELATED = 'multipart/related; type="application/dicom"; boundary=edge'


@pytest.mark.parametrize(
    ("answer", "received", "sentence"),
    [
        (lambda files: (200, RELATED, multipart(files)), 5, "5 objects"),
        (lambda files: (206, RELATED, multipart(files[:3])), 3, "3 objects"),
        (lambda files: (200, RELATED, multipart(files)[:-100] + CUT), 4, "broke off"),
        (lambda files: (200, RELATED, multipart(files)[:-100]), 4, "closing boundary"),
        (lambda files: (200, "text/html", b"<p>hello"), 0, "it is text/html"),
        (
            lambda files: (200, RELATED, multipart(files).replace(b"application/dicom", JPEG)),
            0,
            "a part is image/jpeg",
        ),
        (lambda files: (200, RELATED, b"garbage"), 0, "rules of multipart"),
        (lambda files: (404, "text/plain", b""), 0, "404"),
        (lambda files: (500, "text/plain", b""), 0, "500"),
    ],
    ids=[
        "whole",
        "partial content",
        "cut off",
        "no end",
        "another type",
        "other parts",
        "garbage",
        "not found",
        "error",
    ],
)
def test_what_came_by_wado_is_counted_and_what_went_wrong_is_said(
    pulled: Callable[..., Pulled],
    files: list[Path],
    instances: dict[str, list[str]],
    answer: Callable[[list[Path]], Page],
    received: int,
    sentence: str,
) -> None:
    with web_source(site(files, instances, answer(files))) as url:
        result = pulled(retrieve="wado", url=url)
    assert (result.expected, result.received) == (5, received)
    assert sentence in result.sentence


def test_an_object_of_another_study_is_refused(
    pulled: Callable[..., Pulled],
    files: list[Path],
    instances: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    stray = make_series(tmp_path / "stray", slices=1, rows=8, columns=8, study="another")
    with web_source(site(files, instances, (200, RELATED, multipart(files[:4] + stray)))) as url:
        result = pulled(retrieve="wado", url=url)
    assert result.received == 4
    assert "1 refused and in quarantine here" in result.sentence


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_name_the_setting(pulled: Callable[..., Pulled], status: int) -> None:
    with (
        web_source(lambda *_: (status, "text/plain", b"")) as url,
        pytest.raises(SourceUnavailableError, match="token_file"),
    ):
        pulled(retrieve="wado", url=url)


def test_a_token_is_sent_and_a_missing_file_is_named(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    seen: list[str] = []

    def pages(_path: str, headers: Mapping[str, str]) -> Page:
        seen.append(headers.get("Authorization", ""))
        return 204, "application/dicom+json", b""

    token = tmp_path / "token"
    with web_source(pages) as url:
        settings = settings_for(make_settings, retrieve="wado", url=url, token_file=token)
        with pytest.raises(ConfigurationError, match="token_file"):
            series_counts(settings.sources[0], settings, STUDY)
        token.write_text("open-sesame\n")
        assert series_counts(settings.sources[0], settings, STUDY) == {}
    assert set(seen) == {"Bearer open-sesame"}


def test_rows_that_are_none_are_no_empty_answer(pulled: Callable[..., Pulled]) -> None:
    with (
        web_source(lambda *_: (200, "application/dicom+json", b"<html>")) as url,
        pytest.raises(RetrievalError, match="other than JSON rows"),
    ):
        pulled(retrieve="wado", url=url)


def test_check_names_the_source_that_does_not_answer(
    make_settings: MakeSettings, free_port: int
) -> None:
    settings = settings_for(make_settings, port=free_port)
    (found,) = [f for f in examine_site(settings) if f.subject == "source archive"]
    assert not found.ok
    assert "does not accept connections" in found.sentence
