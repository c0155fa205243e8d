"""`export` as a steward runs it: into a folder, resumed, held, verified; and the ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicomnode.config import Settings, load
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking import decisions
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.spool import Spool
from tests.command_line import dicomnode
from tests.factories import make_series
from tests.unit.gate.released import Study, receive, received_study
from tests.unit.tracking.rows import EVIDENCE


@dataclass(frozen=True)
class Site:
    """A node with a key, and room for studies."""

    folder: Path
    settings: Settings
    database: Database

    @property
    def config(self) -> tuple[str, str]:
        return ("--config", str(self.folder / "config.toml"))

    @property
    def digest(self) -> str:
        return installed_examiner(self.settings).wanted_digest([EVIDENCE.subject])

    @property
    def spool(self) -> Spool:
        return Spool(self.settings.spool_folder)

    def study(self, name: str, **options: Any) -> Study:
        return received_study(
            self.database, self.spool, self.folder / "made", name, self.digest, **options
        )

    def hold(self, study: Study) -> None:
        """A person objects."""
        with self.database.begin() as connection:
            uid = series_of(study)
            decisions.record(connection, uid, DecisionKind.NOT_DEFACED, account="anna", note="nose")

    def export(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return dicomnode("export", "--project", "heads", *arguments, *self.config)

    def listed(self, *studies: Study) -> str:
        file = self.folder / "studies.txt"
        file.write_text("".join(f"{study.uid}\n" for study in studies))
        return str(file)

    def ledger(self) -> list[dict[str, Any]]:
        found = dicomnode("exports", "list", "--json", *self.config)
        assert found.returncode == 0, found.stderr
        return list(json.loads(found.stdout))


def series_of(study: Study) -> str:
    return str(dcmread(study.files[0], specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    config = tmp_path / "config.toml"
    assert dicomnode("gate", "keygen", str(tmp_path / "key")).returncode == 0
    config.write_text(
        f'[node]\ndata_folder = "{tmp_path / "data"}"\n[gate]\nkey_file = "{tmp_path / "key"}"\n'
        "[projects.heads]\n"
    )
    settings = load(config)
    database = Database(settings.database_url)
    database.migrate()
    Spool(settings.spool_folder).prepare()
    return Site(tmp_path, settings, database)


def test_what_leaves_into_a_folder_is_proven_there(site: Site, tmp_path: Path) -> None:
    study, out = site.study("one"), tmp_path / "out"
    done = site.export("--to", str(out), "--studies", site.listed(study), "--by", "anna")
    assert done.returncode == 0, done.stderr
    assert "1 left; 4 instances left now" in done.stdout
    left = sorted(path.relative_to(out) for path in out.rglob("*.dcm"))
    assert len(left) == 4
    assert {path.parts[0] for path in left} == {study.uid}
    (receipt,) = out.rglob("receipt-*.json")
    proven = dicomnode(
        "gate", "verify", str(receipt), "--public-key", str(tmp_path / "key.pub"), "--files",
        str(out),
    )  # fmt: skip
    assert (proven.returncode, proven.stdout.split("\n")[0]) == (0, "PROVEN"), proven.stdout
    (row,) = site.ledger()
    assert (row["state"], row["left_count"], row["account"]) == ("left", 4, "anna")
    assert (row["project"], row["destination"]) == ("heads", str(out))
    shown = json.loads(dicomnode("exports", "show", "1", "--json", *site.config).stdout)
    assert len(shown["instances"]) == 4


def test_a_second_run_sends_nothing_again_unless_it_is_asked_to(site: Site, tmp_path: Path) -> None:
    study, out = site.study("one"), tmp_path / "out"
    arguments = ("--to", str(out), "--studies", site.listed(study), "--json")
    first = json.loads(site.export(*arguments).stdout.splitlines()[0])
    second = json.loads(site.export(*arguments).stdout.splitlines()[0])
    assert (first["outcome"], first["instances"]) == ("left", 4)
    assert (second["outcome"], second["instances"]) == ("left before", 0)
    assert first["receipt_number"] == second["receipt_number"]
    third = json.loads(site.export(*arguments, "--again").stdout.splitlines()[0])
    assert (third["outcome"], third["instances"]) == ("left", 4)


def test_a_held_study_stays_and_is_told(site: Site, tmp_path: Path) -> None:
    released, held, out = site.study("one"), site.study("two"), tmp_path / "out"
    site.hold(held)
    done = site.export("--to", str(out), "--studies", site.listed(released, held))
    assert (done.returncode, "anna decided not defaced" in done.stderr) == (3, True)
    assert [path.name for path in out.iterdir()] == [released.uid]
    everything = site.export("--to", str(tmp_path / "every"), "--all-released", "--json")
    lines = [json.loads(line) for line in everything.stdout.splitlines()]
    assert (everything.returncode, [one.get("study_instance_uid") for one in lines]) == (
        0,
        [released.uid, None],
    )


def test_new_evidence_gets_a_new_receipt(site: Site, tmp_path: Path) -> None:
    study, out = site.study("one"), tmp_path / "out"
    arguments = ("--to", str(out), "--studies", site.listed(study))
    assert site.export(*arguments).returncode == 0
    more = make_series(site.folder / "more", study="one", series="more", slices=4)
    receive(site.database, site.spool, more, site.digest)
    assert site.export(*arguments).returncode == 0
    assert len(list(out.rglob("*.dcm"))) == 8
    receipts = sorted(path.name for path in out.rglob("receipt-*.json"))
    assert receipts == ["receipt-1.json", "receipt-2.json"]
    assert [row["left_count"] for row in site.ledger()] == [8, 4]


def test_a_changed_file_of_the_spool_stops_its_study(site: Site, tmp_path: Path) -> None:
    first, second, out = site.study("one"), site.study("two"), tmp_path / "out"
    victim = first.files[2]
    victim.write_bytes(victim.read_bytes()[:-1] + b"\1")
    done = site.export("--to", str(out), "--studies", site.listed(first, second))
    assert (done.returncode, "is not the one that was examined" in done.stderr) == (1, True)
    assert (out / second.uid).is_dir()
    assert not list(out.glob(f"{first.uid}/receipt-*"))
    states = {row["study_instance_uid"]: row["state"] for row in site.ledger()}
    assert states == {first.uid: "stopped", second.uid: "left"}


def test_nothing_leaves_without_a_key(site: Site, tmp_path: Path) -> None:
    study = site.study("one")
    config = tmp_path / "config.toml"
    config.write_text(f'[node]\ndata_folder = "{tmp_path / "data"}"\n[projects.heads]\n')
    done = site.export("--to", str(tmp_path / "out"), "--studies", site.listed(study))
    assert (done.returncode, "gate keygen" in done.stderr) == (2, True)


def test_a_destination_that_nobody_can_mean_is_refused(site: Site, tmp_path: Path) -> None:
    studies = ("--studies", site.listed(site.study("one")))
    for to, why in (
        ("reserch", "no [[archives]] block is named 'reserch'"),
        (str(tmp_path / "data" / "out"), "node.data_folder"),
        (str(tmp_path / "unmounted" / "out"), "is the disk mounted?"),
    ):
        done = site.export("--to", to, *studies)
        assert (done.returncode != 0, why in done.stderr) == (True, True), done.stderr
    assert site.ledger() == []


def test_an_export_that_was_killed_goes_on(site: Site, tmp_path: Path) -> None:
    study, out = site.study("one", slices=60, rows=128, columns=128), tmp_path / "out"
    arguments = ("--to", str(out), "--studies", site.listed(study))
    command = [sys.executable, "-m", "dicomnode.cli", "export", "--project", "heads"]
    process = subprocess.Popen(
        [*command, *arguments, *site.config], stderr=subprocess.PIPE, env=os.environ
    )
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.dcm"))) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    (row,) = site.ledger()
    assert (row["state"], 4 <= row["left_count"] < 60) == ("leaving", True), row
    before = row["left_count"]
    done = site.export(*arguments, "--json")
    (told, _) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, told["instances"]) == (0, 60 - before)
    (row,) = site.ledger()
    assert (row["state"], row["left_count"], row["instance_count"]) == ("left", 60, 60)
    assert len(list(out.rglob("*.dcm"))) == 60
    assert not list(out.rglob("*.part"))
