"""A folder that is about to be handed over: what is in it has to be what was examined."""

from __future__ import annotations

import os
import shutil
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.config import GateSettings, Settings
from dicomnode.dicom.file_format import data_set_offset
from dicomnode.domain import GateOutcome
from dicomnode.errors import GateError
from dicomnode.gate.files import FileState
from dicomnode.gate.folder import FolderDecision, decide_folder
from dicomnode.gate.policy import Policy, policy_of
from dicomnode.intake.running import running_intake
from dicomnode.tracking import examinations, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.factories import make_series
from tests.unit.tracking.rows import examined

PEER = {"calling_ae_title": "A", "called_ae_title": "B", "address": "192.0.2.1"}


class Node:
    """A node that received one series; `folder` holds the files as they were sent."""

    def __init__(self, tmp_path: Path) -> None:
        values = {"node": {"data_folder": tmp_path / "data"}, "scp": {"minimum_free_bytes": 0}}
        self.settings = Settings.model_validate(values)
        self.folder = tmp_path / "export"
        self.files = make_series(self.folder / "deep", slices=3)
        with running_intake(self.settings) as intake:
            peer = intake.opened(**PEER)
            for file in self.files:
                intake.store_file(peer, file.read_bytes())
            intake.closed(peer, "released")
        self.database = Database(self.settings.database_url)
        self.spool = Spool(self.settings.spool_folder)

    def examine(self) -> None:
        with self.database.begin() as connection:
            revision = series.add_revision(connection, 1, self.spool, datetime.now(UTC))
            assert revision is not None
            examinations.record(connection, revision.id, examined(revision))

    def decide(
        self, folder: Path | None = None, rules: GateSettings | None = None
    ) -> FolderDecision:
        policy = Policy("p", rules or GateSettings())
        return decide_folder(
            folder or self.folder, self.database, self.spool, policy, lambda subjects: ""
        )

    def states(self) -> dict[str, FileState]:
        decision = self.decide()
        assert decision.outcome is GateOutcome.HOLD
        return {one.name: one.state for one in decision.holding}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.examine()
    return made


def test_a_folder_of_what_was_examined_is_released_whoever_wrote_its_file_meta(node: Node) -> None:
    """The files as they were sent have a file meta of their own, those of the spool the node's."""
    decision = node.decide()
    assert (decision.outcome, decision.holding) == (GateOutcome.RELEASE, ())
    ((study, count),) = decision.files.items()
    assert (count, decision.studies[0].study_instance_uid) == (3, study)
    assert node.decide(node.settings.spool_folder / "objects").outcome is GateOutcome.RELEASE


def test_files_of_a_study_that_is_held_hold(tmp_path: Path) -> None:
    decision = Node(tmp_path).decide()
    assert (decision.outcome, decision.holding) == (GateOutcome.HOLD, ())
    assert "still arriving" in decision.studies[0].reasons[0]


def test_one_changed_byte_holds_and_the_file_is_named(node: Node) -> None:
    file = node.files[1]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert node.states() == {f"deep/{file.name}": FileState.CHANGED}
    file.write_bytes(data[:-1])
    assert node.states() == {f"deep/{file.name}": FileState.CHANGED}


@pytest.mark.parametrize("where", ["preamble", "private", "long", "twice"])
def test_what_hides_in_front_of_the_data_set_holds(node: Node, where: str) -> None:
    file = node.files[0]
    data = file.read_bytes()
    group = bytearray(data[144 : data_set_offset(data)])
    preamble = b"II*\0" + bytes(124) if where == "preamble" else bytes(128)
    if where == "private":
        group += struct.pack("<HH2sHL", 2, 0x0102, b"OB", 0, 4) + b"face"
    if where == "long":
        group += struct.pack("<HH2sH", 2, 0x0018, b"AE", 66) + b"f" * 66
    if where == "twice":
        group += 2 * (struct.pack("<HH2sH", 2, 0x0018, b"AE", 4) + b"face")
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(group))
    rest = data[data_set_offset(data) :]
    file.write_bytes(preamble + b"DICM" + length + group + rest)
    assert node.states() == {f"deep/{file.name}": FileState.CHANGED}


def test_a_folder_that_cannot_be_read_holds(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (node.folder / "deep" / "locked.dcm").touch()
    monkeypatch.setattr(Path, "lstat", refuse)
    assert set(node.states().values()) == {FileState.UNREADABLE}


def test_another_file_under_a_received_uid_holds(node: Node) -> None:
    one, other = node.files[:2]
    head = one.read_bytes()
    one.write_bytes(head[:400] + other.read_bytes()[400:])
    assert list(node.states().values()) == [FileState.CHANGED]


def test_what_was_never_received_or_is_no_file_holds(node: Node) -> None:
    (stranger, *_) = make_series(node.folder / "other", series="other", slices=1)
    (node.folder / "face.png").write_bytes(b"\x89PNG")
    (node.folder / "cut.dcm").write_bytes(node.files[0].read_bytes()[:140])
    (node.folder / "link.dcm").symlink_to(node.files[0])
    (node.folder / "folder").symlink_to(node.folder / "deep")
    os.mkfifo(node.folder / "pipe")
    Path(os.fsdecode(os.fsencode(node.folder) + b"/\xff.txt")).write_text("")
    assert node.states() == {
        "face.png": FileState.NOT_DICOM,
        "\\xff.txt": FileState.NOT_DICOM,
        "cut.dcm": FileState.UNREADABLE,
        "folder": FileState.NO_FILE,
        "link.dcm": FileState.NO_FILE,
        f"other/{stranger.name}": FileState.UNKNOWN,
        "pipe": FileState.NO_FILE,
    }


def test_a_policy_lets_files_pass_by_suffix_but_no_dicom_file_under_it(node: Node) -> None:
    (node.folder / "dataset.JSON").write_text("{}")
    lenient = GateSettings(other_file_suffixes=(".json",))
    decision = node.decide(rules=lenient)
    assert (decision.outcome, decision.passed_by_suffix) == (GateOutcome.RELEASE, 1)
    assert node.decide().outcome is GateOutcome.HOLD
    (stranger, *_) = make_series(node.folder / "other", series="other", slices=1)
    stranger.rename(node.folder / "stranger.json")
    (held,) = node.decide(rules=lenient).holding
    assert (held.name, held.state) == ("stranger.json", FileState.UNKNOWN)


@pytest.mark.parametrize("with_notes", [False, True])
def test_a_folder_without_an_examined_file_holds(node: Node, with_notes: bool) -> None:
    shutil.rmtree(node.folder / "deep")
    if with_notes:
        (node.folder / "notes.txt").write_text("")
    decision = node.decide(rules=GateSettings(other_file_suffixes=(".txt",)))
    assert decision.outcome is GateOutcome.HOLD
    assert decision.reasons == ("no file in it was examined, so nothing is proven",)


def test_a_late_instance_holds_the_folder_that_lacks_it(node: Node) -> None:
    with running_intake(node.settings) as intake:
        peer = intake.opened(**PEER)
        late = make_series(node.folder.parent / "late", slices=4)[-1]
        intake.store_file(peer, late.read_bytes())
        intake.closed(peer, "released")
    decision = node.decide()
    assert (decision.outcome, decision.holding) == (GateOutcome.HOLD, ())


def test_without_the_spool_only_the_very_file_of_the_spool_is_known(node: Node) -> None:
    shutil.copytree(node.settings.spool_folder / "objects", node.folder / "kept")
    shutil.rmtree(node.settings.spool_folder / "objects")
    assert set(node.states()) == {f"deep/{file.name}" for file in node.files}


def test_an_unknown_project_and_a_missing_folder(node: Node, tmp_path: Path) -> None:
    unknown = policy_of(node.settings, "nobody's")
    decision = decide_folder(node.folder, node.database, node.spool, unknown, lambda subjects: "")
    assert decision.outcome is GateOutcome.HOLD
    assert "no project" in decision.reasons[0]
    with pytest.raises(GateError, match="no such folder"):
        node.decide(tmp_path / "absent")


def test_many_files_take_few_queries(node: Node) -> None:
    for copy in range(10):
        shutil.copytree(node.folder / "deep", node.folder / str(copy))
    asked: list[str] = []
    sa.event.listen(
        node.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2])
    )
    assert node.decide().outcome is GateOutcome.RELEASE
    assert len([statement for statement in asked if statement.startswith("SELECT")]) < 10
