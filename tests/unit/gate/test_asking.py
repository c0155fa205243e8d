"""Which series wait for a person: by verdict, by code, and by what kind of series they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from dicomnode.config import Settings
from dicomnode.config_policy import DOUBTFUL, Demand, ProjectSettings, SeriesRule
from dicomnode.domain import Acquisition, RefusalCode, VerdictKind
from dicomnode.gate import asking
from dicomnode.tracking import decisions, notices, reviews
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.notices import Topic
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.desk import complete, record
from tests.unit.tracking.rows import EVIDENCE, at, examined

THICK = SeriesRule(name="thick", slices_at_least_mm=4.0, needs=Demand.PERSON)
NOTHING_ASKED = Settings(gate={"series": ()})  # type: ignore[arg-type]
THICK_ASKED = Settings(gate={"series": (THICK,)})  # type: ignore[arg-type]


def add(
    database: Database, spool: Spool, uid: str, kind: VerdictKind, slice_mm: float, seconds: int = 0
) -> None:
    evidence = replace(EVIDENCE, acquisition=Acquisition(slice_mm, ("ORIGINAL",), ("GR",)))
    with database.begin() as connection:
        revision = complete(connection, spool, "1.2", uid, seconds=seconds)
        found = examined(revision, kind)
        volumes = tuple(replace(volume, evidence=evidence) for volume in found.volumes)
        record(connection, revision, replace(found, volumes=volumes), seconds)


@pytest.fixture
def thin_and_thick(database: Database, spool: Spool) -> Database:
    add(database, spool, "1.2.1", VerdictKind.DEFACED, 1.0)
    add(database, spool, "1.2.2", VerdictKind.DEFACED, 5.0)
    add(database, spool, "1.2.3", VerdictKind.FACE_VISIBLE, 5.0)
    return database


def mark_all(database: Database, settings: Settings) -> None:
    while asking.mark_kinds(database, settings):
        pass


def waiting(database: Database, settings: Settings) -> dict[str, bool]:
    with database.read() as connection:
        items = reviews.page(connection, asking.review_filter(settings)).items
    return {item.series_instance_uid: item.is_asked_by_kind for item in items}


def test_a_defaced_series_whose_kind_needs_a_person_waits(thin_and_thick: Database) -> None:
    mark_all(thin_and_thick, THICK_ASKED)
    assert waiting(thin_and_thick, THICK_ASKED) == {"1.2.2": True, "1.2.3": False}
    assert waiting(thin_and_thick, NOTHING_ASKED) == {"1.2.3": False}


def test_a_decision_takes_it_out(thin_and_thick: Database) -> None:
    mark_all(thin_and_thick, THICK_ASKED)
    with thin_and_thick.begin() as connection:
        decisions.record(connection, "1.2.2", DecisionKind.DEFACED, account="anna", note="no face")
    assert waiting(thin_and_thick, THICK_ASKED) == {"1.2.3": False}


def test_a_changed_table_marks_anew_and_the_same_table_finds_nothing_to_do(
    thin_and_thick: Database,
) -> None:
    mark_all(thin_and_thick, NOTHING_ASKED)
    assert waiting(thin_and_thick, THICK_ASKED) == {"1.2.3": False}
    assert asking.mark_kinds(thin_and_thick, THICK_ASKED) == 3
    assert asking.mark_kinds(thin_and_thick, THICK_ASKED) == 0
    assert waiting(thin_and_thick, THICK_ASKED) == {"1.2.2": True, "1.2.3": False}
    mark_all(thin_and_thick, NOTHING_ASKED)
    assert waiting(thin_and_thick, THICK_ASKED) == {"1.2.3": False}


def test_a_new_examination_is_marked_too(thin_and_thick: Database, spool: Spool) -> None:
    mark_all(thin_and_thick, THICK_ASKED)
    add(thin_and_thick, spool, "1.2.4", VerdictKind.DEFACED, 6.0, seconds=100)
    assert asking.mark_kinds(thin_and_thick, THICK_ASKED) == 1
    assert waiting(thin_and_thick, THICK_ASKED) == {"1.2.2": True, "1.2.3": False, "1.2.4": True}


def test_people_are_told_of_it(thin_and_thick: Database, spool: Spool) -> None:
    wanted = replace(asking.review_filter(THICK_ASKED), kinds=())
    with thin_and_thick.begin() as connection:
        notices.note(connection, "mail", {}, wanted, at(0))
    add(thin_and_thick, spool, "1.2.4", VerdictKind.DEFACED, 6.0, seconds=100)
    assert told(thin_and_thick, at(200), wanted) == 0
    mark_all(thin_and_thick, THICK_ASKED)
    assert told(thin_and_thick, at(201), wanted) == 1


def told(database: Database, now: datetime, wanted: reviews.ReviewFilter) -> int:
    with database.begin() as connection:
        notices.note(connection, "mail", {}, wanted, now)
        found = notices.untold(connection, "mail", wanted, now)
    return 0 if found is None else found.counts.get(Topic.NEEDS_PERSON, 0)


def test_the_most_careful_of_all_projects_counts() -> None:
    review = {"pass_verdicts": tuple(VerdictKind)[:3], "review_verdicts": ("UNDETERMINED",)}
    settings = Settings(
        gate={"series": ()},  # type: ignore[arg-type]
        projects={
            "one": ProjectSettings(**review, series=()),  # type: ignore[arg-type]
            "two": ProjectSettings(
                **review,  # type: ignore[arg-type]
                series=(),
                persons_needed=2,
                review_refusals=(RefusalCode.LOCALIZER,),
            ),
        },
    )
    wanted = asking.review_filter(settings)
    assert asking.asks_by_verdict(settings)
    assert wanted.kinds == (VerdictKind.UNDETERMINED,)
    assert wanted.codes == (RefusalCode.LOCALIZER,)
    assert wanted.persons == 2
    assert not wanted.is_by_kind


def test_doubtful_verdicts_wait_where_no_project_asks_by_verdict() -> None:
    wanted = asking.review_filter(Settings())
    assert not asking.asks_by_verdict(Settings())
    assert set(wanted.kinds) == set(DOUBTFUL)
    assert wanted.codes == ()
    assert wanted.is_by_kind
