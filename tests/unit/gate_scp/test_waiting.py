"""What waits at the gate is looked at study by study; none of them stops the others."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest

from dicomnode.config import DestinationSettings
from dicomnode.config_gate_ae import GateTitleSettings
from dicomnode.dicom.file_format import read_received
from dicomnode.domain import GateDecision, GateOutcome
from dicomnode.errors import DatabaseError
from dicomnode.gate.release import Exit
from dicomnode.gate_scp.door import HeldError, Ways
from dicomnode.gate_scp.waiting import WaitingRoom
from dicomnode.intake.received import Peer, received_from_file
from dicomnode.tracking import held
from dicomnode.tracking.database import Database
from dicomnode.tracking.held import HeldObject, HeldState
from dicomnode.tracking.spool import Spool
from tests.factories import make_series

TITLE = GateTitleSettings(ae_title="RESEARCH7", project="cohort-7", archive="research")
ARCHIVE = DestinationSettings(name="research", ae_title="RESEARCH", host="127.0.0.1", port=11999)


class Decisions:
    """An exit that only decides: by outcome, or by the exception that a study brings about."""

    def __init__(self) -> None:
        self.of: dict[str, GateOutcome | Exception] = {}

    def decide(self, study: str) -> GateDecision:
        said = self.of[study]
        if isinstance(said, Exception):
            raise said
        return GateDecision(study, said, ("held now",))


class Waiting:
    """A room in which objects wait, and what is decided of their studies."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self.decisions = Decisions()
        self.spool = Spool(folder / "gate-waiting")
        self.spool.prepare()
        nodes_spool = Spool(folder / "spool")
        ways = Ways(
            database,
            nodes_spool,
            {TITLE.ae_title: TITLE},
            {ARCHIVE.name: ARCHIVE},
            lambda project, archive, account: cast(Exit, self.decisions),
            "DICOMNODE",
        )
        self.room = WaitingRoom(ways, self.spool)

    def keep(self, name: str) -> str:
        """One object of a study of its own; the Study Instance UID."""
        (file,) = make_series(self._folder / name, study=name, series=name, slices=1)
        received = received_from_file(Peer("", "DESK", "", "192.0.2.1"), file.read_bytes())
        header = read_received(name, file).header
        self.room.keep(TITLE.project, header, received, HeldError(HeldState.WAITING, "held before"))
        return header.study_instance_uid

    def look(self) -> None:
        self.room.look(threading.Event())

    def rows(self) -> dict[str, HeldObject]:
        with self._database.read() as connection:
            found = held.newest(connection, states=tuple(HeldState))
        return {one.file.study_instance_uid: one for one in found}


@pytest.fixture
def waiting(database: Database, tmp_path: Path) -> Waiting:
    return Waiting(database, tmp_path)


def test_a_study_that_cannot_be_looked_at_does_not_stop_the_others(waiting: Waiting) -> None:
    first, second = sorted(waiting.keep(name) for name in ("one", "other"))
    waiting.decisions.of = {first: ValueError("a damaged row"), second: GateOutcome.HOLD}
    waiting.look()
    rows = waiting.rows()
    assert (rows[first].reason, rows[second].reason) == ("held before", "held now")
    assert {row.state for row in rows.values()} == {HeldState.WAITING}


def test_a_database_that_is_away_ends_the_look(waiting: Waiting) -> None:
    waiting.decisions.of = {waiting.keep("one"): DatabaseError("away")}
    with pytest.raises(DatabaseError):
        waiting.look()


def test_an_object_that_cannot_be_read_now_waits_on(waiting: Waiting) -> None:
    study = waiting.keep("one")
    waiting.decisions.of = {study: GateOutcome.RELEASE}
    path = waiting.spool.path(waiting.rows()[study].file.name)
    path.unlink()
    path.mkdir()
    waiting.look()
    row = waiting.rows()[study]
    assert (row.state, row.reason) == (
        HeldState.WAITING,
        "its file can't be read now: IsADirectoryError",
    )


@pytest.mark.parametrize(("what", "reason"), [("gone", "is gone"), ("longer", "is damaged")])
def test_an_object_that_is_not_there_as_it_came_can_never_leave(
    waiting: Waiting, what: str, reason: str
) -> None:
    study = waiting.keep("one")
    waiting.decisions.of = {study: GateOutcome.RELEASE}
    path = waiting.spool.path(waiting.rows()[study].file.name)
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"\0")
    waiting.look()
    row = waiting.rows()[study]
    assert (row.state, reason in row.reason) == (HeldState.CHANGED, True)
