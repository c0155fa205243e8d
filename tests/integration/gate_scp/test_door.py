"""Senders at the gate's DICOM door: what may leave goes on at once, the rest waits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.gate import keys, receipt
from dicomnode.gate.verification import verify
from dicomnode.tracking import audit, receipts
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.exports import ExportState
from dicomnode.tracking.held import HeldState
from tests import postgres
from tests.command_line import dicomnode
from tests.databases import postgres_server as postgres_server
from tests.e2e.site import wait_until
from tests.factories import make_series
from tests.hostile import raw_sender
from tests.integration.gate_scp.door import (
    FINDSCU,
    STORESCP,
    STORESCU,
    Site,
    find,
    running_archive,
    running_gate,
    send,
    site,
    statuses,
)
from tests.integration.gate_scp.sender import associated, sending
from tests.integration.scp.receiving import data_set_bytes
from tests.unit.gate.released import Study, receive

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not all(Path(program).is_file() for program in (STORESCU, STORESCP, FINDSCU)),
        reason="dcmtk isn't installed",
    ),
]


# What storescu calls 0xB007.
WARNING = "(Warning: DataSetDoesNotMatchSOPClass)"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gate and one archive for all tests that kill neither."""
    with (
        site(tmp_path_factory.mktemp("gate")) as made,
        running_archive(made),
        running_gate(made),
    ):
        yield made


def series_of(study: Study) -> str:
    return str(dcmread(study.files[0], specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)


def archived_of(at: Site, study: Study) -> list[Path]:
    return [path for path in at.archived() if dcmread(path).StudyInstanceUID == study.uid]


def test_what_is_released_is_in_the_archive_when_success_is_answered(at: Site) -> None:
    study = at.study("released")
    sent = send(at, study.files)
    assert (sent.returncode, statuses(sent)) == (0, ["(Success)"] * 4), sent.stderr
    archived = archived_of(at, study)
    assert {data_set_bytes(path) for path in archived} == {
        data_set_bytes(path) for path in study.files
    }
    wait_until("the ledger is closed", lambda: at.ledger(study)[0].state is ExportState.LEFT, 10)
    (row,) = at.ledger(study)
    assert (row.left_count, row.account, row.destination) == (4, "ae:DESK", "research")
    with at.database.read() as connection:
        (stored,) = receipts.newest(connection, 1, study.uid)
    assert stored.number == row.receipt_number
    signed = receipt.read(stored.document.encode(), "it")
    assert verify([signed], keys.public_key(at.folder / "key.pub"), study.files).is_proven


def test_what_is_held_is_answered_with_a_warning_and_leaves_by_itself_later(at: Site) -> None:
    study = at.study("later")
    at.say(series_of(study), DecisionKind.NOT_DEFACED)
    sent = send(at, study.files)
    assert (sent.returncode, statuses(sent)) == (0, [WARNING] * 4)
    assert archived_of(at, study) == []
    waiting = at.held(study)
    assert {one.state for one in waiting} == {HeldState.WAITING}
    assert all("anna decided not defaced" in one.reason for one in waiting)
    listed = dicomnode("gate", "waiting", "--json", "--config", str(at.config))
    told = [one["file"]["study_instance_uid"] for one in json.loads(listed.stdout)]
    assert told.count(study.uid) == 4

    at.say(series_of(study), DecisionKind.REVOKED)
    wait_until(
        "all of it was forwarded",
        lambda: {one.state for one in at.held(study)} == {HeldState.FORWARDED},
        30,
        at.log,
    )
    assert len(archived_of(at, study)) == 4
    wait_until("the ledger is closed", lambda: at.ledger(study)[0].state is ExportState.LEFT, 10)
    (row,) = at.ledger(study)
    assert (row.state, row.left_count, row.account) == (ExportState.LEFT, 4, "ae:DESK")
    folder = at.settings.waiting_folder / "objects"
    assert not any((folder / one.file.name).exists() for one in waiting)


def test_what_was_changed_after_its_examination_never_leaves(at: Site, tmp_path: Path) -> None:
    study = at.study("changed")
    changed = tmp_path / "changed.dcm"
    data_set = dcmread(study.files[0])
    data_set.PatientName = "ANONYMOUS"
    data_set.save_as(changed)
    assert statuses(send(at, [changed])) == [WARNING]
    (one,) = at.held(study)
    assert (one.state, "not, byte for byte" in one.reason) == (HeldState.CHANGED, True)
    assert (archived_of(at, study), at.ledger(study)) == ([], [])
    done = dicomnode(
        "gate", "discard", str(one.id), "--by", "anna", "--config", str(at.config)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (one,) = at.held(study)
    assert one.state is HeldState.DISCARDED
    with at.database.read() as connection:
        (event,) = audit.newest(connection, event="held object discarded")
    assert (event.subject, event.detail["account"]) == (one.file.sop_instance_uid, "anna")
    again = dicomnode("gate", "discard", str(one.id), "--config", str(at.config))
    assert (again.returncode, "waits at the gate" in again.stderr) == (1, True)


def test_what_nobody_received_waits_until_it_was_examined(at: Site, tmp_path: Path) -> None:
    files = make_series(tmp_path / "unknown", study="unknown", series="unknown", slices=4)
    assert statuses(send(at, files)) == [WARNING] * 4
    study = Study(str(dcmread(files[0]).StudyInstanceUID), tuple(files))
    # The second is what the gate says of a study, once it has looked again.
    why = ("nobody examined it", "nothing is known of it")
    assert all(any(words in one.reason for words in why) for one in at.held(study))
    receive(at.database, at.spool, files, at.digest)
    wait_until("it was forwarded", lambda: len(archived_of(at, study)) == 4, 30, at.log)


def test_a_study_that_becomes_held_between_two_objects_stops(at: Site) -> None:
    """Both over one association: after the first success a person objects."""
    study = at.study("between")
    with sending(at.port, "RESEARCH7", "DESK") as one_by_one:
        assert one_by_one(study.files[0]) == 0x0000
        at.say(series_of(study), DecisionKind.NOT_DEFACED)
        assert one_by_one(study.files[1]) == 0xB007
        at.say(series_of(study), DecisionKind.REVOKED)
        assert one_by_one(study.files[2]) == 0x0000
    wait_until("the other one left", lambda: len(archived_of(at, study)) == 3, 30, at.log)


def test_what_is_no_whole_object_stays_with_its_sender(at: Site) -> None:
    study = at.study("broken")
    data_set = data_set_bytes(study.files[0])
    with associated(at.port, "RESEARCH7", "DESK") as association:
        other = raw_sender.send(association, data_set, sop_instance_uid="1.2.3.999")
        uid = str(dcmread(study.files[0]).SOPInstanceUID)
        cut_off = raw_sender.send(association, data_set[:-10], sop_instance_uid=uid)
    assert (other.status, cut_off.status) == (0xA900, 0xC000)
    assert (archived_of(at, study), at.held(study), at.ledger(study)) == ([], [], [])


def test_questions_are_answered_with_released_studies_only(at: Site) -> None:
    released, held = at.study("find-released"), at.study("find-held")
    at.say(series_of(held), DecisionKind.NOT_DEFACED)
    both = f"StudyInstanceUID={released.uid}\\{held.uid}"
    keys = ("QueryRetrieveLevel=STUDY", "NumberOfStudyRelatedInstances", "ModalitiesInStudy")
    found = find(at, *keys, both, "PatientName")
    told = found.stdout + found.stderr
    assert released.uid in told
    assert held.uid not in told.split("Pending", 1)[1]
    assert "[4 ]" in told
    assert "[MR]" in told

    nobody = find(at, *keys, both, "PatientID=TEST")
    assert "Pending" not in nobody.stdout + nobody.stderr
    series = find(
        at, "QueryRetrieveLevel=SERIES", f"StudyInstanceUID={released.uid}", "SeriesInstanceUID"
    )
    assert series_of(released) in series.stdout + series.stderr
    secret = find(
        at, "QueryRetrieveLevel=SERIES", f"StudyInstanceUID={held.uid}", "SeriesInstanceUID"
    )
    assert "Pending" not in secret.stdout + secret.stderr
    images = find(
        at, "QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={released.uid}",
        f"SeriesInstanceUID={series_of(released)}", "SOPInstanceUID",
    )  # fmt: skip
    assert (images.stdout + images.stderr).count("(Pending)") >= 3


def test_more_answers_than_the_limit_end_with_a_failure(at: Site) -> None:
    for number in range(4):
        at.study(f"many-{number}")
    found = find(at, "QueryRetrieveLevel=STUDY", "StudyInstanceUID")
    told = found.stdout + found.stderr
    assert told.count("(Pending)") == 3
    assert "OutOfResources" in told or "0xa700" in told.lower()


@pytest.mark.parametrize(("called", "calling"), [("RESEARCH8", "DESK"), ("RESEARCH7", "STRANGER")])
def test_who_is_not_named_gets_no_association(at: Site, called: str, calling: str) -> None:
    study = at.study("rejected")
    sent = send(at, study.files[:1], called, calling)
    assert (sent.returncode != 0, "Rejected" in sent.stdout + sent.stderr) == (True, True)
    assert (archived_of(at, study), at.held(study)) == ([], [])


def test_an_archive_that_is_away_leaves_the_object_with_its_sender(tmp_path: Path) -> None:
    with site(tmp_path / "site") as at, running_gate(at):
        study = at.study("away")
        sent = send(at, study.files[:1])
        told = sent.stdout + sent.stderr
        assert "OutOfResources" in told or "0xa700" in told.lower()
        assert at.held(study) == []
        with running_archive(at):
            assert statuses(send(at, study.files)) == ["(Success)"] * 4


def test_postgresql_keeps_the_ledger_and_what_waits_too(
    tmp_path: Path, postgres_server: str
) -> None:
    with (
        postgres.fresh_database(postgres_server, "gate_door") as url,
        site(tmp_path / "site", database_url=url) as at,
        running_archive(at),
        running_gate(at),
    ):
        released, held = at.study("released"), at.study("held")
        at.say(series_of(held), DecisionKind.NOT_DEFACED)
        assert statuses(send(at, released.files)) == ["(Success)"] * 4
        assert statuses(send(at, held.files)) == [WARNING] * 4
        at.say(series_of(held), DecisionKind.REVOKED)
        wait_until("it left", lambda: len(at.archived()) == 8, 30, at.log)
        rows = [*at.ledger(released), *at.ledger(held)]
        assert [row.left_count for row in rows] == [4, 4]


def test_a_gate_that_is_killed_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    with site(tmp_path / "site") as at, running_archive(at):
        released = at.study("kill-released", slices=40, rows=128, columns=128)
        held = at.study("kill-held", slices=40)
        at.say(series_of(held), DecisionKind.NOT_DEFACED)
        files = [file for pair in zip(released.files, held.files, strict=True) for file in pair]
        with running_gate(at) as gate:
            sender = subprocess.Popen(
                [STORESCU, "-v", "-aet", "DESK", "-aec", "RESEARCH7", "127.0.0.1", str(at.port),
                 *map(str, files)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            wait_until("some of it passed", lambda: len(at.archived()) >= 8, 30, at.log)
            gate.send_signal(signal.SIGKILL)
            output, _ = sender.communicate(timeout=60)
            gate.wait(20)
        told = [line for line in output.splitlines() if "Store Response" in line]
        passed = sum("(Success)" in line for line in told)
        kept = sum("Warning" in line for line in told)
        assert passed >= 7
        assert kept >= 6
        assert passed <= len(archived_of(at, released)) <= passed + 1
        assert kept <= len(at.held(held)) <= kept + 1
        for one in at.held(held):
            assert (at.settings.waiting_folder / "objects" / one.file.name).is_file()
        (row,) = at.ledger(released)
        assert row.state is ExportState.LEAVING
        assert passed <= row.left_count <= passed + 1
        with running_gate(at):
            assert at.ledger(released)[0].state is ExportState.STOPPED
            assert statuses(send(at, released.files)).count("(Success)") == 40
            at.say(series_of(held), DecisionKind.REVOKED)
            wait_until(
                "what waited left", lambda: at.held(held)[0].state is HeldState.FORWARDED, 30
            )


def test_the_sweep_removes_what_nothing_waits_for(tmp_path: Path) -> None:
    with site(tmp_path / "site") as at:
        folder = at.settings.waiting_folder / "objects" / "ab"
        folder.mkdir(parents=True)
        (folder / "old.dcm").write_bytes(b"x")
        os.utime(folder / "old.dcm", (time.time() - 7200,) * 2)
        (folder / "new.dcm").write_bytes(b"x")
        with running_gate(at):
            assert sorted(path.name for path in folder.iterdir()) == ["new.dcm"]
    shutil.rmtree(tmp_path / "site")
