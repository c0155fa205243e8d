"""Every question is answered by an index, on both databases: nobody walks over a million rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from bench.scale_rows import fill, study_uid
from dicomnode.config import CompletenessSettings
from dicomnode.domain import CopyState, RefusalCode, Role, VerdictKind
from dicomnode.tracking import (
    accounts,
    api_tokens,
    audit,
    audit_cursor,
    decisions,
    deliveries,
    examinations,
    expected,
    exports,
    findings,
    flow,
    held,
    instances,
    kinds,
    logins,
    notices,
    oidc_accounts,
    outdated,
    pulls,
    quarantine,
    receipts,
    retention,
    reviews,
    series,
    status,
    study_copies,
    study_list,
    work_queue,
)
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.exports import Export
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.held import HeldState
from dicomnode.tracking.logins import LoginLimits
from dicomnode.tracking.reviews import ReviewFilter
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.states import SeriesState
from dicomnode.tracking.study_list import StudyFilter
from dicomnode.tracking.timeline import timeline
from dicomnode.tracking.work_queue import QueueKind
from tests import postgres
from tests.unit.tracking.gate_rows import WAITING, fill_gate
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
TWO_PERSONS = ReviewFilter(
    (VerdictKind.UNDETERMINED,), (RefusalCode.LOCALIZER,), 2, is_by_kind=True
)
ANNA = Export("heads", "research", "anna")
LIMITS = LoginLimits(timedelta(hours=1), timedelta(hours=12))

RULES = retention.Rules(at(0), (VerdictKind.DEFACED,), (RefusalCode.LOCALIZER,), 1, True)

READS: dict[str, Ask] = {
    "gate": lambda c: findings.verdicts_of_studies(c, UIDS),
    "files of a folder": lambda c: instances.known_files(c, [f"{SERIES}.1", f"{SERIES}.2"]),
    "status of a study": lambda c: status.study_status(c, STUDY),
    "status of a series": lambda c: status.study_status(c, SERIES),
    "newest studies": lambda c: status.studies_status(c, 2),
    "what has files": retention.page,
    "what may go": lambda c: retention.removable(c, RULES, [1, 2, 3]),
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
    "verdicts of other tables of kinds": lambda c: kinds.unmarked(c, "ab", 2),
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
    # The lists of all accounts and of all tokens are short, and read whole.
    "account": lambda c: accounts.by_name(c, "anna"),
    "account of an identity provider": lambda c: accounts.by_oidc_subject(c, "x"),
    "login": lambda c: logins.find_login(c, "t", LIMITS, at(0)),
    "token": lambda c: api_tokens.find(c, "dn_t", at(0)),
    "tokens of an account": lambda c: api_tokens.every(c, "anna"),
    "exports": lambda c: exports.newest(c),
    "exports, next page": lambda c: exports.newest(c, before=9),
    "exports of a study": lambda c: exports.newest(c, study_instance_uid=STUDY),
    "exports of a project": lambda c: exports.newest(c, project="heads"),
    "exports to a destination": lambda c: exports.newest(c, destination="/mnt/7"),
    "export of a study": lambda c: exports.one(c, 1),
    "what left of a study": lambda c: exports.instances_of(c, 1, after="1.2"),
    "what waits at the gate": lambda c: held.newest(c),
    "what waits at the gate, next page": lambda c: held.newest(c, before=9),
    "studies that wait at the gate": lambda c: held.studies_waiting(c, 200, (STUDY, "heads")),
    "what waits of a study": lambda c: held.waiting_of(c, STUDY, "heads", 0, 200),
    "files that wait": lambda c: held.names_open(c, ["ab/1", "ab/2"]),
    "copies that were asked for": lambda c: study_copies.asked(c),
    "copies that wait, run or failed": lambda c: study_copies.listed(c, everything=False),
    "copies of a study": lambda c: study_copies.of_study(c, STUDY),
    "copies of a series": lambda c: study_copies.copies_of_series(c, SERIES),
    "series of a copy": lambda c: study_copies.series_of(c, 1),
    "faces that were found last": lambda c: study_copies.shows_a_face(c, 5900),
    "picture of a copy": lambda c: study_copies.picture_of(c, "2.25.7.1", 0),
    "what nobody was told": lambda c: notices.untold(c, "mail", ReviewFilter(), at(0)),
    "what the collector was not sent": lambda c: audit_cursor.unsent(c, 100),
    "what waits, for a monitor": lambda c: flow.queues(c, at(0)),
    "what waits for each destination": lambda c: flow.destinations(c, ["pacs"]),
    "what happened since the last scrape": lambda c: flow.Flow(9, 9).look(c),
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
    "what is new": lambda c: notices.note(c, "mail", {}, ReviewFilter(), at(0)),
    "an account": lambda c: accounts.set_enabled(c, "anna", False),
    "an identity provider's account": lambda c: oidc_accounts.account_for(
        c, "x", ["bert"], Role.VIEWER, at(0)
    ),
    "a login": lambda c: (logins.seen(c, "t", at(0)), logins.close_login(c, "t", at(0))),
    "a token": lambda c: api_tokens.revoke(c, 1),
    "an export": lambda c: exports.begin(c, ANNA, STUDY, 1, [f"{SERIES}.1"]),
    "what a gate that died left": lambda c: exports.stop_unfinished(c, "ae:"),
    "what leaves": lambda c: (exports.record(c, 1, f"{SERIES}.1"), exports.finish(c, 1)),
    "an object that waits": lambda c: held.hold(c, WAITING, HeldState.WAITING, "because"),
    "why a study waits": lambda c: held.hold_study(c, STUDY, "heads", "because"),
    "an object that waits no more": lambda c: held.discard(c, 1, account="anna"),
    "a copy": lambda c: study_copies.ask(c, STUDY, "2.25.7", [], [], by="anna"),
    "the end of a copy": lambda c: study_copies.set_state(c, 1, CopyState.DONE),
    "what was copied": lambda c: study_copies.record(c, 1, [], []),
    "a copy that is forgotten": lambda c: study_copies.forget(c, STUDY),
    "a count": lambda c: expected.expect_counts(c, STUDY, {SERIES: 9}, expected.Source.C_FIND, "P"),
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
        fill_gate(database)
        yield database


@pytest.mark.parametrize("name", READS)
def test_what_is_read_is_found_by_an_index(node: Database, name: str) -> None:
    assert walks(node, READS[name]) == []


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_is_found_by_an_index(node: Database, name: str) -> None:
    assert walks(node, WRITES[name]) == []


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
