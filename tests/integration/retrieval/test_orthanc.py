"""Pulling from a real PACS: Orthanc by C-MOVE, C-GET and DICOMweb."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from dicomnode.app.checkup import examine_site
from dicomnode.config import DestinationSettings, load
from dicomnode.delivery.store import send
from dicomnode.retrieval import find
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulls import received_instances
from dicomnode.tracking.spool import Spool, object_name
from tests.command_line import dicomnode
from tests.e2e.site import (
    Orthanc,
    dicomweb_plugin,
    missing_peers,
    running_orthanc,
    wait_until,
)
from tests.factories import make_series, make_uid
from tests.ports import free_ports

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(missing_peers()), reason=missing_peers()),
]
PATIENT = "Winterbottom^Ottilie"
STUDIES = [f"study {number}" for number in range(4)]
UIDS = [make_uid(study) for study in STUDIES]
LARGE, COMPRESSED = make_uid("large"), make_uid("compressed")


@dataclass(frozen=True)
class Archive:
    """A PACS with studies in it, and the port to which it would move them."""

    orthanc: Orthanc
    move_port: int
    files: dict[str, Path]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    (port,) = free_ports(1)
    allowed = {"AllowFind": True, "AllowMove": True, "AllowGet": True}
    node = {"AET": "DICOMNODE", "Host": "127.0.0.1", "Port": port} | allowed
    options = {"DicomModalities": {"node": node}, "Plugins": [dicomweb_plugin()]}
    if not dicomweb_plugin():
        del options["Plugins"]
    folder = tmp_path_factory.mktemp("archive")
    with running_orthanc(folder / "orthanc", **options) as orthanc:
        files = _fill(orthanc, folder)
        yield Archive(orthanc, port, files)


def _fill(orthanc: Orthanc, folder: Path) -> dict[str, Path]:
    series = [(study, name, {"slices": 6}) for study in STUDIES for name in ("a", "b")]
    series.append(("large", "a", {"slices": 300, "rows": 16, "columns": 16}))
    for name, syntax in (
        ("rle", RLELossless),
        ("j2k", JPEG2000Lossless),
        ("plain", ExplicitVRLittleEndian),
    ):
        series.append(("compressed", name, {"slices": 4, "transfer_syntax": syntax}))
    files = [
        path
        for study, name, options in series
        for path in make_series(
            folder / study / name, study=study, series=name, patient=PATIENT, **options
        )
    ]
    destination = DestinationSettings(
        name="archive", ae_title="ORTHANC", host="127.0.0.1", port=orthanc.dicom_port
    )
    send(destination, files, "DICOMNODE")
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in files}


@dataclass(frozen=True)
class Site:
    """A node's configuration, and what it has."""

    config: Path
    archive: Archive

    def pull(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return dicomnode("pull", "--from", "archive", *arguments, "--config", str(self.config))

    def pulled(self, *arguments: str) -> dict[str, dict[str, Any]]:
        found = self.pull(*arguments, "--per-minute", "6000", "--json")
        assert found.stdout, found.stderr
        return {s["study_instance_uid"]: s for s in json.loads(found.stdout)["studies"]}

    def stored(self, study_uid: str) -> dict[str, Path]:
        settings = load(self.config)
        database = Database(settings.database_url)
        with database.read() as connection:
            series = received_instances(connection, study_uid)
        database.close()
        spool = Spool(settings.spool_folder)
        return {uid: spool.path(object_name(uid)) for uids in series.values() for uid in uids}


@pytest.fixture(params=["move", "get", "wado"])
def site(request: pytest.FixtureRequest, tmp_path: Path, archive: Archive) -> Iterator[Site]:
    """A node for which everything is in place, whatever way it retrieves."""
    made = make_site(tmp_path, archive, request.param)
    if request.param == "move":
        with receiving(made):
            yield made
    else:
        yield made


def make_site(folder: Path, archive: Archive, retrieve: str, extra: str = "") -> Site:
    if retrieve == "wado" and not dicomweb_plugin():
        pytest.skip("not installed: orthanc-dicomweb (Debian)")
    config = folder / "config.toml"
    config.write_text(
        f"""
[node]
data_folder = "{folder / "data"}"
log_level = "DEBUG"
[scp]
port = {archive.move_port}
minimum_free_bytes = 0
[[sources]]
name = "archive"
retrieve = "{retrieve}"
ae_title = "ORTHANC"
port = {archive.orthanc.dicom_port}
url = "http://127.0.0.1:{archive.orthanc.http_port}/dicom-web"
calling_ae_title = "DICOMNODE"
timeout_seconds = 10
{extra}
"""
    )
    return Site(config, archive)


@contextmanager
def receiving(site: Site) -> Iterator[None]:
    log = site.config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicomnode.cli", "scp", "--config", str(site.config)],
            stderr=output,
        )
    try:
        wait_until("the receiver listens", lambda: b'"receiving"' in log.read_bytes(), 60, log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=40)


def test_a_study_comes_whole_and_as_it_is_stored(site: Site) -> None:
    pull = site.pulled("--study", UIDS[0])[UIDS[0]]
    assert (pull["state"], pull["expected_instances"], pull["received_instances"]) == (
        "done",
        12,
        12,
    )
    stored = site.stored(UIDS[0])
    assert len(stored) == 12
    for uid, path in stored.items():
        assert dcmread(path) == dcmread(site.archive.files[uid])


def test_compressed_objects_stay_compressed(site: Site) -> None:
    assert site.pulled("--study", COMPRESSED)[COMPRESSED]["state"] == "done"
    stored = site.stored(COMPRESSED)
    assert len(stored) == 12
    for uid, path in stored.items():
        mine, theirs = dcmread(path), dcmread(site.archive.files[uid])
        assert mine.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID
        assert mine.PixelData == theirs.PixelData


def test_hundreds_of_instances_come_in_one_study(site: Site) -> None:
    pull = site.pulled("--study", LARGE)[LARGE]
    assert (pull["state"], pull["received_instances"]) == ("done", 300), pull


def test_a_study_that_is_not_there_does_not_stop_the_rest(site: Site, tmp_path: Path) -> None:
    listed = tmp_path / "studies.txt"
    listed.write_text(f"# wanted\n{UIDS[0]}\n\n1.2.3   # nowhere\n{UIDS[1]}\n")
    pulls = site.pulled("--studies", str(listed))
    states = {uid: pull["state"] for uid, pull in pulls.items()}
    assert states == {UIDS[0]: "done", "1.2.3": "failed", UIDS[1]: "done"}
    assert "no such study" in pulls["1.2.3"]["last_error"]
    resumed = site.pulled("--resume")
    assert {uid: pull["attempts"] for uid, pull in resumed.items()} == {"1.2.3": 2}


def test_a_query_selects_by_keys_that_are_kept_nowhere(site: Site) -> None:
    asked = site.config.with_name("query.txt")
    asked.write_text(f"PatientName={PATIENT}\n")
    done = site.pull(
        "--query-file",
        str(asked),
        "StudyDate=20260101-20260131",
        "--json",
        "--per-minute",
        "6000",
    )
    assert done.returncode == 0, done.stderr
    assert {s["study_instance_uid"] for s in json.loads(done.stdout)["studies"]} == {
        *UIDS,
        LARGE,
        COMPRESSED,
    }
    assert "Winterbottom" not in done.stdout + done.stderr
    data = load(site.config).node.data_folder
    logs = site.config.parent.glob("*.log")
    for file in (*data.glob("tracking.sqlite*"), *logs):
        assert b"Winterbottom" not in file.read_bytes(), file


def test_what_is_here_already_is_not_asked_for_again(site: Site) -> None:
    site.pulled("--study", UIDS[0])
    before = {path: path.stat().st_mtime_ns for path in site.stored(UIDS[0]).values()}
    again = site.pulled("--study", UIDS[0])[UIDS[0]]
    assert (again["state"], again["attempts"]) == ("done", 1)
    assert {path: path.stat().st_mtime_ns for path in site.stored(UIDS[0]).values()} == before


def test_the_source_says_how_large_each_series_is(tmp_path: Path, archive: Archive) -> None:
    for retrieve in ("get", "wado"):
        settings = load(make_site(tmp_path, archive, retrieve).config)
        (source,) = settings.sources
        expected = {make_uid(STUDIES[0], name): 6 for name in ("a", "b")}
        assert find.series_counts(source, settings, UIDS[0]) == expected
        assert find.series_counts(source, settings, "1.2.3") == {}


def test_check_says_that_the_sources_answer(tmp_path: Path, archive: Archive) -> None:
    for retrieve in ("move", "get", "wado"):
        settings = load(make_site(tmp_path, archive, retrieve).config)
        (found,) = [f for f in examine_site(settings) if f.subject == "source archive"]
        assert found.ok, found.sentence


def test_a_move_needs_the_receiver_to_run(tmp_path: Path, archive: Archive) -> None:
    site = make_site(tmp_path, archive, "move")
    failed = site.pull("--study", UIDS[0])
    assert failed.returncode == 1
    assert "own receiver" in failed.stderr
    assert "dicomnode serve" in failed.stderr
    with receiving(site):  # what was asked for is on the list
        assert site.pulled("--resume")[UIDS[0]]["state"] == "done"


def _backfill(site: Site, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dicomnode.cli", "pull", "--from", "archive", *more]
    return subprocess.Popen(
        [*command, "--config", str(site.config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wanted(*uids: str) -> list[str]:
    return [argument for uid in uids for argument in ("--study", uid)]


def _has_some_of(site: Site, uid: str, count: int) -> Callable[[], bool]:
    """To be polled; the tables are made here, so that they are there from the start."""
    Database(load(site.config).database_url).migrate()
    return lambda: len(site.stored(uid)) >= count


def test_a_backfill_that_is_killed_loses_nothing(tmp_path: Path, archive: Archive) -> None:
    site = make_site(tmp_path, archive, "get")
    is_in_flight = _has_some_of(site, LARGE, 20)
    process = _backfill(site, "--per-minute", "6000", *_wanted(UIDS[0], LARGE, UIDS[1]))
    try:
        wait_until("the second study is in flight", is_in_flight, 60)
    finally:
        process.kill()
        process.wait(timeout=20)
    assert len(site.stored(LARGE)) < 300
    resumed = site.pulled("--resume")
    assert {uid: pull["state"] for uid, pull in resumed.items()} == {LARGE: "done", UIDS[1]: "done"}
    assert {uid: pull["attempts"] for uid, pull in resumed.items()} == {LARGE: 2, UIDS[1]: 1}
    assert len(site.stored(LARGE)) == 300
    assert site.pulled("--resume") == {}


def test_a_backfill_that_is_asked_to_stop_ends_after_the_study(
    tmp_path: Path, archive: Archive
) -> None:
    site = make_site(tmp_path, archive, "get")
    is_in_flight = _has_some_of(site, LARGE, 20)
    process = _backfill(site, "--per-minute", "1", *_wanted(LARGE, UIDS[0]))
    try:
        wait_until("the first study is in flight", is_in_flight, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 1
    finally:
        process.kill()
    assert len(site.stored(LARGE)) == 300
    assert set(site.pulled("--resume")) == {UIDS[0]}


def test_a_backfill_that_is_asked_twice_ends_at_once_and_can_go_on(
    tmp_path: Path, archive: Archive
) -> None:
    site = make_site(tmp_path, archive, "get")
    is_in_flight = _has_some_of(site, LARGE, 20)
    process = _backfill(site, "--per-minute", "1", *_wanted(LARGE, UIDS[0]))
    try:
        wait_until("the first study is in flight", is_in_flight, 60)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    resumed = site.pulled("--resume")
    assert resumed[UIDS[0]]["state"] == "done"
    assert len(site.stored(LARGE)) == 300
