"""Which series another version examined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from dicomnode.domain import Examination, HeaderClaims, Revision, Subject
from dicomnode.tracking import examinations, findings, instances, outdated, series, totals
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import EVIDENCE, SERIES, at, examined, instance, refused, volume

HEAD = HeaderClaims(body_part_examined="Head")


def wanted(subjects: Sequence[Subject]) -> str:
    """As with a network for heads and one for all else."""
    return "+".join(sorted({"head" if one.body_part == "HEAD" else "rest" for one in subjects}))


def put(database: Database, spool: Spool, number: int) -> Revision:
    """Receive a series whose Series Instance UID ends in `number`."""
    with database.begin() as connection:
        instances.add(connection, [instance(1, series=f"{SERIES}.{number}")])
        revision = series.add_revision(connection, number, spool, at(30))
    assert revision is not None
    return revision


def record(database: Database, revision: Revision, examination: Examination) -> int:
    with database.begin() as connection:
        return examinations.record(connection, revision.id, examination)


def of_head(revision: Revision, digest: str) -> Examination:
    found = replace(volume(), evidence=replace(EVIDENCE, claims=HEAD, modality="CT"))
    return Examination(revision.digest, (found,), examiner_digest=digest)


@pytest.fixture
def examined_by(database: Database, spool: Spool) -> dict[str, int]:
    """Examination ids of: heads by each network, a body, a refused, a failed, a grown series."""
    revisions = [put(database, spool, number) for number in range(1, 7)]
    ids = {
        "head by head": record(database, revisions[0], of_head(revisions[0], "head")),
        "head by rest": record(database, revisions[1], of_head(revisions[1], "rest")),
        "body by rest": record(
            database, revisions[2], replace(examined(revisions[2]), examiner_digest="rest")
        ),
        "refused by old rules": record(
            database, revisions[3], replace(refused(revisions[3]), examiner_digest="old rules")
        ),
    }
    with database.begin() as connection:
        ids["failed"] = examinations.record_failure(connection, revisions[4].id, "out of memory")
    ids["grown"] = record(database, revisions[5], of_head(revisions[5], "rest"))
    with database.begin() as connection:
        instances.add(connection, [instance(2, series=f"{SERIES}.6")])
    return ids


def test_what_the_present_choice_would_not_have_examined_is_outdated(
    database: Database, examined_by: dict[str, int]
) -> None:
    with database.read() as connection:
        found = outdated.examined_now(connection)
        told = [one.examination_id for one in found if one.is_outdated(wanted)]
        number = outdated.count(connection, wanted)
        total = totals.outdated_total(connection, wanted)
    assert told == [examined_by["head by rest"], examined_by["refused by old rules"]]
    assert number == len(told)
    assert total.counts == {"": len(told)}
    assert examined_by["failed"] not in {one.examination_id for one in found}


def test_the_findings_say_the_same(database: Database, examined_by: dict[str, int]) -> None:
    with database.read() as connection:
        every = findings.findings(connection, sa.true())
    told = {finding.examination_id for finding in every if finding.is_outdated(wanted)}
    assert told == {examined_by["head by rest"], examined_by["refused by old rules"]}


def test_a_new_examination_is_of_the_wanted_version(
    database: Database, spool: Spool, examined_by: dict[str, int]
) -> None:
    with database.read() as connection:
        (old,) = [
            one
            for one in outdated.examined_now(connection)
            if one.examination_id == examined_by["head by rest"]
        ]
        revision = series.load_revision(connection, old.revision_id, spool)
    assert (revision.digest, revision.series_instance_uid) == (
        old.revision_digest,
        old.series_instance_uid,
    )
    record(database, revision, of_head(revision, "head"))
    with database.read() as connection:
        assert outdated.count(connection, wanted) == 1


def test_they_come_page_by_page_and_by_study_or_series(
    database: Database, examined_by: dict[str, int]
) -> None:
    with database.read() as connection:
        every = outdated.examined_now(connection)
        rest = outdated.examined_now(connection, after=every[1].examination_id)
        assert rest == every[2:]
        one = outdated.examined_now(connection, series_uid=f"{SERIES}.2")
        assert [each.examination_id for each in one] == [examined_by["head by rest"]]
        assert outdated.examined_now(connection, study="1.2.3") == []


def test_what_the_choice_looked_at_is_kept_for_each_volume() -> None:
    head, body = Subject("CT", "HEAD", (1.0, 0.5, 0.5)), Subject("MR", "", (4.0, 1.0, 1.0))
    for subjects in ((), (head,), (head, body), (body, head, head)):
        assert outdated.decode(outdated.encode(subjects)) == subjects
    assert outdated.decode(outdated.encode([head] * 500)) == (head,)
