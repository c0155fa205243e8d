from __future__ import annotations

import pytest

from dicomnode.domain import CopyState, CopyWay, SeriesCopy, VolumeCopy
from dicomnode.tracking import study_copies
from dicomnode.tracking.database import Database
from dicomnode.tracking.study_copies import LeftOut, PlannedSeries, StudyCopy
from tests.databases import *  # noqa: F403
from tests.unit.tracking.copies import PROOF, volume_copy
from tests.unit.tracking.rows import SERIES, STUDY, picture

COPY = "2.25.100"
PLAN = (PlannedSeries(1, "ab" * 32, SERIES, ("EchoTime 5",)),)
LOCALIZER = LeftOut("1.2.3", "LOCALIZER: a localizer")


def ask(database: Database, by: str = "anna") -> StudyCopy:
    with database.begin() as c:
        return study_copies.ask(c, STUDY, COPY, PLAN, [LOCALIZER], by=by)


def test_who_asks_twice_gets_the_same_copy(database: Database) -> None:
    first, second = ask(database), ask(database, "bob")
    assert first == second
    assert (first.state, first.plan, first.left_out) == (CopyState.ASKED, PLAN, (LOCALIZER,))
    with database.read() as c:
        assert study_copies.asked(c) == [first]
        assert study_copies.of_study(c, STUDY) == study_copies.of_study(c, COPY) == [first]


def test_what_has_ended_ends_no_other_way(database: Database) -> None:
    copy = ask(database)
    with database.begin() as c:
        assert study_copies.set_state(c, copy.id, CopyState.RUNNING, job_id="deface:1")
        assert study_copies.set_state(c, copy.id, CopyState.FAILED, sentence="no brain")
        assert not study_copies.set_state(c, copy.id, CopyState.DONE)
        found = study_copies.load(c, copy.id)
    assert (found.state, found.sentence, found.job_id) == (CopyState.FAILED, "no brain", "deface:1")
    again = ask(database, "bob")
    assert (again.state, again.sentence, again.asked_by) == (CopyState.ASKED, "", "bob")


def test_what_was_made_is_known_with_its_proof(database: Database) -> None:
    copy = ask(database)
    plain = VolumeCopy("EchoTime 5", CopyWay.UNCHANGED, "2.25.8", 3, ())
    made = SeriesCopy(SERIES, (volume_copy("2.25.7", "a nose", label="EchoTime 9"), plain))
    with database.begin() as c:
        for _ in range(2):  # a step may run again
            study_copies.record(c, copy.id, [made], [LOCALIZER])
        defaced, unchanged = study_copies.copies_of_series(c, SERIES)
        assert study_copies.origins(c, ["2.25.8", "1.2.3"]) == {"2.25.8": unchanged}
        pictures = [study_copies.picture_of(c, "2.25.7", index) for index in (-1, 0, 1, 2)]
    assert defaced.proof is not None
    assert defaced.objections == defaced.proof.objections == ("a nose",)
    assert defaced.proof.evidence == PROOF.evidence
    assert (defaced.study_instance_uid, defaced.series_instance_uid) == (STUDY, SERIES)
    assert (unchanged.proof, unchanged.objections, unchanged.way) == (None, (), CopyWay.UNCHANGED)
    assert pictures == [None, picture(1), picture(2), None]


def test_an_unknown_copy_is_no_copy(database: Database) -> None:
    with database.read() as c, pytest.raises(LookupError):
        study_copies.load(c, 5)
