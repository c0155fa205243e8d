"""Every question is answered by an index, on both databases: nobody walks over a million rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
import sqlalchemy as sa

from bench.scale_rows import fill, study_uid
from dicomnode.config import CompletenessSettings
from dicomnode.domain import RefusalCode, VerdictKind
from dicomnode.tracking import (
    audit,
    decisions,
    deliveries,
    examinations,
    expected,
    findings,
    instances,
    outdated,
    pulls,
    quarantine,
    receipts,
    reviews,
    series,
    status,
    study_list,
    work_queue,
)
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.gate_schema import (
    accounts,
    api_tokens,
    exported_studies,
    exports,
    held_objects,
    logins,
    notices,
)
from dicomnode.tracking.reviews import ReviewFilter
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.states import SeriesState
from dicomnode.tracking.study_list import StudyFilter
from dicomnode.tracking.timeline import timeline
from dicomnode.tracking.work_queue import QueueKind
from tests import postgres
from tests.unit.tracking.plans import Ask, walks
from tests.unit.tracking.rows import at, instance, two_echoes

UIDS = [study_uid(number) for number in (5, 70, 900)]
STUDY, SERIES = UIDS[0], f"{UIDS[0]}.1"
EVERYTHING = StudyFilter(
    verdict="DEFACED",
    state=SeriesState.FAILED,
    modality="MR",
    received_from=at(0),
    received_until=at(99),
    decided=False,
)
TWO_PERSONS = ReviewFilter((VerdictKind.UNDETERMINED,), (RefusalCode.LOCALIZER,), persons=2)

READS: dict[str, Ask] = {
    "gate": lambda c: findings.verdicts_of_studies(c, UIDS),
    "files of a folder": lambda c: instances.known_files(c, [f"{SERIES}.1", f"{SERIES}.2"]),
    "status of a study": lambda c: status.study_status(c, STUDY),
    "status of a series": lambda c: status.study_status(c, SERIES),
    "newest studies": lambda c: status.studies_status(c, 2),
    "timeline": lambda c: timeline(c, STUDY),
    "list": lambda c: study_list.page(c),
    "list, next page": lambda c: study_list.page(c, after="2026-03-01T12:00:00+00:00_1.3"),
    "list, filtered": lambda c: study_list.page(c, EVERYTHING),
    "list, decided": lambda c: study_list.page(c, StudyFilter(decided=True)),
    "list, by verdict": lambda c: study_list.page(c, StudyFilter(verdict="DEFACED")),
    "count": lambda c: study_list.count(c),
    "count, filtered": lambda c: study_list.count(c, EVERYTHING),
    "search": lambda c: study_list.search(c, f"{SERIES}.1"),
    **{
        f"list, {state}": lambda c, state=state: study_list.page(c, StudyFilter(state=state))  # type: ignore[misc]
        for state in SeriesState
    },
    **{
        f"queue, {kind}": lambda c, kind=kind: work_queue.page(c, kind)  # type: ignore[misc]
        for kind in QueueKind
        if kind is not QueueKind.QUARANTINE
    },
    "queue, quarantine": lambda c: work_queue.page(c, QueueKind.QUARANTINE),
    "for review": lambda c: reviews.page(c, TWO_PERSONS),
    "for review, count": lambda c: reviews.count(c, TWO_PERSONS),
    "for review, next": lambda c: reviews.next_for_review(c, 1, TWO_PERSONS),
    "for review, previous": lambda c: reviews.previous_for_review(c, 9, TWO_PERSONS),
    "decisions": lambda c: (decisions.standing(c, [1, 2]), decisions.history(c, SERIES)),
    "what can be decided": lambda c: decisions.examination_now(c, SERIES),
    "receipts": lambda c: receipts.newest(c),
    "receipts of a study": lambda c: receipts.newest(c, study_instance_uid=STUDY),
    "list of receipts": lambda c: receipts.listed(c, before=9),
    "list of receipts of a study": lambda c: receipts.listed(c, study_instance_uid=STUDY),
    "last receipt": lambda c: receipts.last(c),
    "instances of a receipt": lambda c: receipts.instances_of(c, STUDY),
    "audit log": lambda c: audit.newest(c),
    "audit log of an event": lambda c: audit.newest(c, event="pull forgotten"),
    "audit log of a subject": lambda c: audit.newest(c, subject=STUDY),
    "quarantine": lambda c: quarantine.newest(c),
    "pulls": lambda c: pulls.named(c, "pacs", UIDS),
    "what is complete": lambda c: unrevised(c, at(0)),
    "outdated series of a study": lambda c: outdated.examined_now(c, study=STUDY),
    "outdated series": lambda c: outdated.examined_now(c, 1),
}

LATE = instance(99, series=SERIES, study=STUDY)
WRITES: dict[str, Ask] = {
    "instances": lambda c: instances.add(c, [LATE, instance(6, series="1.2.3")]),
    "a series that is expected": lambda c: instances.expect(c, LATE.header, at(9), "a1"),
    "a failure": lambda c: examinations.record_failure(c, 1, "out of memory"),
    "the start of an examination": lambda c: examinations.start(c, 1),
    "deliveries": lambda c: deliveries.add(c, 1, "pacs"),
    "a delivery": lambda c: (deliveries.claim(c, 1), deliveries.mark_delivered(c, 1)),
    "a decision": lambda c: decisions.record(
        c, SERIES, DecisionKind.DEFACED, account="anna", note="why"
    ),
    "a count": lambda c: expected.expect_counts(c, STUDY, {SERIES: 9}, expected.Source.C_FIND, "P"),
}

LOOK_UPS = {
    "account": sa.select(accounts).where(accounts.c.name == "anna"),
    "account of an identity provider": sa.select(accounts).where(accounts.c.oidc_subject == "x"),
    "login": sa.select(logins).where(logins.c.sha256 == "ab"),
    "logins of an account": sa.select(logins).where(logins.c.account_id == 1),
    "token": sa.select(api_tokens).where(api_tokens.c.sha256 == "ab"),
    "tokens of an account": sa.select(api_tokens).where(api_tokens.c.account_id == 1),
    "exports": sa.select(exports).where(
        exports.c.project == "p", exports.c.destination == "research"
    ),
    "newest exports": sa.select(exports).order_by(exports.c.id.desc()).limit(50),
    "exports of a study": sa.select(exported_studies).where(
        exported_studies.c.study_instance_uid == STUDY
    ),
    "studies of an export": sa.select(exported_studies).where(exported_studies.c.export_id == 1),
    "held objects of a study": sa.select(held_objects).where(
        held_objects.c.state == "held", held_objects.c.study_instance_uid == STUDY
    ),
    "notices that nobody was told": sa.select(notices).where(notices.c.told_at.is_(None)),
}


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)]
)
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A node of some thousand series, so that a planner knows what is dear."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/tracking.sqlite"
        else:
            server = request.getfixturevalue("postgres_server")
            url = stack.enter_context(postgres.fresh_database(server, f"plans_{uuid4().hex}"))
        database = Database(url)
        stack.callback(database.close)
        database.migrate()
        fill(database, 6000, lambda _: None)
        yield database


@pytest.mark.parametrize("name", READS)
def test_what_is_read_is_found_by_an_index(node: Database, name: str) -> None:
    assert walks(node, READS[name]) == []


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_is_found_by_an_index(node: Database, name: str) -> None:
    assert walks(node, WRITES[name]) == []


@pytest.mark.parametrize("name", LOOK_UPS)
def test_what_is_looked_up_is_found_by_an_index(node: Database, name: str) -> None:
    assert walks(node, lambda c: c.execute(LOOK_UPS[name]).all()) == []


def test_revisions_and_examinations_are_recorded_without_a_walk(
    node: Database, spool: Spool
) -> None:
    def ask(c: sa.Connection) -> None:
        key = c.scalar(sa.text(f"SELECT id FROM series WHERE series_instance_uid = '{SERIES}'"))
        assert key is not None
        instances.add(c, [LATE])
        revision = series.complete(c, key, spool, CompletenessSettings(), at(90000))
        assert revision is not None
        examinations.record(c, revision.id, two_echoes(revision))

    assert walks(node, ask) == []


def test_a_walk_over_a_table_is_seen(node: Database) -> None:
    by_failure = sa.text("SELECT id FROM examinations WHERE failure = 'x'")
    by_modality = sa.text("SELECT s.id FROM series AS s WHERE s.modality = 'MR' LIMIT 1")
    for query in (by_failure, by_modality):
        assert len(walks(node, lambda c, query=query: c.execute(query).all())) == 1  # type: ignore[misc]
