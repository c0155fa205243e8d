"""`gate` as a steward runs it: decide, hand over, verify on another machine."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.config import load
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking.database import Database
from tests.command_line import dicomnode
from tests.unit.gate.released import Study, examined_study
from tests.unit.tracking.rows import EVIDENCE


@dataclass(frozen=True)
class Site:
    """A node with a key and a study that may leave."""

    folder: Path
    database: Database
    study: Study

    @property
    def config(self) -> tuple[str, str]:
        return ("--config", str(self.folder / "config.toml"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    key, config = tmp_path / "gate-key", tmp_path / "config.toml"
    made = dicomnode("gate", "keygen", str(key))
    assert (made.returncode, str(tmp_path / "gate-key.pub") in made.stdout) == (0, True)
    config.write_text(
        f'[node]\ndata_folder = "{tmp_path / "data"}"\n[gate]\nkey_file = "{key}"\n'
        "[projects.heads]\n"
    )
    settings = load(config)
    database = Database(settings.database_url)
    database.migrate()
    digest = installed_examiner(settings).wanted_digest([EVIDENCE.subject])
    return Site(tmp_path, database, examined_study(database, tmp_path, examiner_digest=digest))


def test_a_release_is_proven_on_another_machine(site: Site, tmp_path: Path) -> None:
    receipt = str(tmp_path / "receipt.json")
    decided = dicomnode(
        "gate", "decide", site.study.uid, "--project", "heads", "--receipt", receipt, *site.config
    )
    assert (decided.returncode, "RELEASE" in decided.stdout) == (0, True), decided.stderr
    assert f"receipt 1, written to {receipt}" in decided.stderr
    elsewhere = tmp_path / "elsewhere"
    for file in site.study.files:
        target = elsewhere / file.relative_to(tmp_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.rmtree(tmp_path / "data")
    question = ("gate", "verify", receipt, "--public-key", str(tmp_path / "gate-key.pub"))
    proven = dicomnode(*question, "--files", str(elsewhere))
    assert (proven.returncode, proven.stdout.split("\n")[0]) == (0, "PROVEN"), proven.stderr
    assert "8 released" in proven.stdout

    copies = [str(elsewhere / file.relative_to(tmp_path)) for file in site.study.files]
    beside = dicomnode("gate", "verify", receipt, *copies, *question[3:])
    assert (beside.returncode, "8 released" in beside.stdout) == (0, True), beside.stderr

    target.write_bytes(target.read_bytes() + b"\0")
    (elsewhere / "note.txt").write_text("hello")
    doubted = dicomnode(*question, "--files", str(elsewhere))
    assert (doubted.returncode, doubted.stdout.split("\n")[0]) == (1, "NOT PROVEN")
    found = json.loads(dicomnode(*question, "--files", str(elsewhere), "--json").stdout)
    states = [file["state"] for file in found["files"]]
    assert [states.count(state) for state in ("released", "changed", "not DICOM")] == [7, 1, 1]
    assert len(found["missing"]) == 1


def test_receipts_are_listed_and_witness_the_audit_log(site: Site, tmp_path: Path) -> None:
    receipts = [str(tmp_path / f"{number}.json") for number in (1, 2)]
    for receipt, project in zip(receipts, ("default", "heads"), strict=True):
        ask = ("gate", "decide", site.study.uid, "--project", project, *site.config)
        done = dicomnode(*ask, "--receipt", receipt)
        assert done.returncode == 0, done.stderr
    again = dicomnode(*ask, "--receipt", str(tmp_path / "again.json"))
    assert (again.returncode, "receipt 2, written to" in again.stderr) == (0, True)
    assert (tmp_path / "again.json").read_text() == Path(receipts[1]).read_text()
    listed = dicomnode("gate", "receipts", "--study", site.study.uid, *site.config)
    assert [line for line in listed.stdout.splitlines() if not line.startswith(" ")] == [
        "2  release",
        "1  release",
    ]
    shown = json.loads(dicomnode("gate", "receipts", "--json", *site.config).stdout)
    assert f"{shown[1]['document']}\n" == Path(receipts[0]).read_text()
    question = ("gate", "verify", *receipts, "--public-key", str(tmp_path / "gate-key.pub"))
    genuine = dicomnode(*question)
    assert (genuine.returncode, genuine.stdout.split("\n")[0]) == (0, "GENUINE")
    (tmp_path / "empty").mkdir()
    for folder in ((str(tmp_path / "empty"),), ("--files", str(tmp_path / "empty"))):
        nothing = dicomnode(*question, *folder)
        told = "there is no file in this folder" in nothing.stderr
        assert (nothing.returncode, told) == (1, True)

    witnessed = ("audit", "verify", "--receipt", receipts[1], *site.config)
    assert dicomnode(*witnessed).returncode == 0
    with site.database.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_events_no_delete"))
        connection.execute(sa.text("DELETE FROM audit_events"))
        connection.execute(sa.text(f"UPDATE audit_head SET row_count = 0, sha256 = '{'0' * 64}'"))
    assert dicomnode("audit", "verify", *site.config).returncode == 0
    told = dicomnode(*witnessed)
    assert (told.returncode, "row 1 was removed" in told.stdout) == (1, True)


def test_a_held_study_gets_no_receipt(site: Site, tmp_path: Path) -> None:
    with site.database.begin() as connection:
        connection.execute(sa.text("UPDATE examinations SET examiner_digest = 'older'"))
    receipt = tmp_path / "receipt.json"
    held = dicomnode("gate", "decide", site.study.uid, "--receipt", str(receipt), *site.config)
    assert (held.returncode, receipt.exists()) == (3, False)
    assert dicomnode("gate", "receipts", *site.config).stdout == "no receipt was issued\n"


def test_what_stands_in_the_way_of_a_receipt_is_said_before_the_decision(
    site: Site, tmp_path: Path
) -> None:
    ask = ("gate", "decide", site.study.uid, *site.config)
    (tmp_path / "taken").write_text("mine")
    told = dicomnode(*ask, "--receipt", str(tmp_path / "taken"))
    assert (told.returncode, "is there already" in told.stderr) == (1, True)
    told = dicomnode(*ask, "--receipt", str(tmp_path / "nowhere" / "receipt"))
    assert (told.returncode, "folder does not exist" in told.stderr) == (1, True)
    (tmp_path / "gate-key").chmod(0o644)
    told = dicomnode(*ask)
    assert (told.returncode, "chmod 600" in told.stderr, told.stdout) == (1, True, "")
    (tmp_path / "config.toml").write_text(f'[node]\ndata_folder = "{tmp_path / "data"}"\n')
    assert dicomnode(*ask).returncode == 0
    told = dicomnode(*ask, "--receipt", str(tmp_path / "receipt"))
    assert (told.returncode, "gate.key_file" in told.stderr) == (2, True)
