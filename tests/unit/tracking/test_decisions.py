"""What people decided: rows are only added, and belong to what the person saw."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from dicomnode.domain import Role, VerdictKind
from dicomnode.errors import DecisionError
from dicomnode.tracking import accounts, audit, decisions, examinations, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind, HumanDecision, record
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.schema import human_decisions
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.plans import query_plans
from tests.unit.tracking.rows import SERIES, STUDY, at, examined, instance


@pytest.fixture
def node(database: Database, spool: Spool) -> Database:
    """One examined series."""
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        examine(connection, spool)
    return database


def examine(connection: sa.Connection, spool: Spool, seconds: float = 30) -> int:
    revision = series.add_revision(connection, 1, spool, at(seconds))
    assert revision is not None
    return examinations.record(connection, revision.id, examined(revision), at(seconds))


def decide(node: Database, kind: DecisionKind, account: str = "anna") -> HumanDecision:
    with node.begin() as connection:
        return record(connection, SERIES, kind, account=account, note="I looked.", now=at(60))


def standing(node: Database) -> tuple[HumanDecision, ...]:
    with node.read() as connection:
        (finding,) = verdicts_of_study(connection, STUDY)
    return finding.decisions


def test_a_decision_is_of_the_examination_that_counts_and_is_audited(node: Database) -> None:
    made = decide(node, DecisionKind.DEFACED)
    assert standing(node) == (made,)
    with node.read() as connection:
        (finding,) = verdicts_of_study(connection, STUDY)
        (event,) = audit.newest(connection, event="human decision")
    assert made.is_of(finding.revision_digest, finding.examination_id)
    assert (made.account, made.note, made.at) == ("anna", "I looked.", at(60))
    assert (event.subject, event.at) == (SERIES, at(60))
    assert event.detail == {
        "kind": "defaced",
        "account": "anna",
        "revision_digest": finding.revision_digest,
        "examination_id": finding.examination_id,
        "decision": made.id,
    }


def test_the_last_word_of_an_account_stands_and_every_row_stays(node: Database) -> None:
    first = decide(node, DecisionKind.DEFACED, "anna")
    second = decide(node, DecisionKind.DEFACED, "bob")
    third = decide(node, DecisionKind.NOT_DEFACED, " Anna ")
    assert standing(node) == (second, third)
    with node.read() as connection:
        assert decisions.history(connection, SERIES) == (first, second, third)


def test_a_decision_is_taken_back_by_a_row(node: Database) -> None:
    decide(node, DecisionKind.NOT_DEFACED)
    back = decide(node, DecisionKind.REVOKED)
    assert (back.kind, standing(node)) == (DecisionKind.REVOKED, ())
    with node.read() as connection:
        assert len(decisions.history(connection, SERIES)) == 2
    again = decide(node, DecisionKind.DEFACED)
    assert standing(node) == (again,)


def test_nobody_takes_back_what_is_not_theirs(node: Database) -> None:
    decide(node, DecisionKind.NOT_DEFACED, "anna")
    with pytest.raises(DecisionError, match="no decision of bob stands"):
        decide(node, DecisionKind.REVOKED, "bob")
    decide(node, DecisionKind.REVOKED, "anna")
    with pytest.raises(DecisionError, match="no decision of anna stands"):
        decide(node, DecisionKind.REVOKED, "anna")


def test_a_new_examination_makes_a_decision_stale(node: Database, spool: Spool) -> None:
    made = decide(node, DecisionKind.DEFACED)
    with node.begin() as connection:
        revision = series.load_revision(connection, 1, spool)
        again = examined(revision, VerdictKind.UNDETERMINED)
        newer = examinations.record(connection, revision.id, again)
        (finding,) = verdicts_of_study(connection, STUDY)
    assert finding.decisions == (made,)
    assert not made.is_of(finding.revision_digest, newer)


def test_who_looked_at_another_examination_is_told_to_look_again(node: Database) -> None:
    with node.begin() as connection, pytest.raises(DecisionError, match="look again"):
        record(
            connection,
            SERIES,
            DecisionKind.DEFACED,
            account="anna",
            note="why",
            seen_examination_id=99,
        )
    assert standing(node) == ()


def test_what_still_arrives_or_was_not_examined_is_not_decided_on(
    node: Database, spool: Spool
) -> None:
    with node.begin() as connection:
        instances.add(connection, [instance(2, 40)])
    with pytest.raises(DecisionError, match="nothing to decide on yet"):
        decide(node, DecisionKind.DEFACED)
    with node.begin() as connection:
        revision = series.add_revision(connection, 1, spool, at(90))
        assert revision is not None
    with pytest.raises(DecisionError, match="nothing to decide on yet"):
        decide(node, DecisionKind.DEFACED)
    with node.begin() as connection:
        examinations.record_failure(connection, revision.id, "out of memory")
    with pytest.raises(DecisionError, match="nothing to decide on yet"):
        decide(node, DecisionKind.DEFACED)


def test_a_series_of_two_studies_is_not_decided_on_by_its_uid(node: Database) -> None:
    with node.begin() as connection:
        instances.add(connection, [instance(7, study="1.2.9")])
    with pytest.raises(DecisionError, match="2 studies have a series of this UID"):
        decide(node, DecisionKind.DEFACED)


@pytest.mark.parametrize("account", ["", "a b", "-a", "a\n", "ä", "a" * 65])
def test_what_is_no_account_is_refused(node: Database, account: str) -> None:
    if account == "a\n":  # spaces around a name are forgiven
        assert decide(node, DecisionKind.DEFACED, account).account == "a"
        return
    with pytest.raises(DecisionError, match="is no account"):
        decide(node, DecisionKind.DEFACED, account)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ana", "there is no such account (dicomnode accounts add ana)"),
        ("vera", "a viewer may not (dicomnode accounts role vera reviewer)"),
        ("gone", "the account is disabled (dicomnode accounts enable gone)"),
    ],
)
def test_once_there_are_accounts_who_is_no_reviewer_decides_nothing(
    node: Database, name: str, message: str
) -> None:
    decide(node, DecisionKind.DEFACED, name)  # there is no account yet
    with node.begin() as connection:
        accounts.create(connection, "vera", Role.VIEWER)
        accounts.create(connection, "gone", Role.STEWARD)
        accounts.set_enabled(connection, "gone", False)
    before = standing(node)
    for kind in (DecisionKind.NOT_DEFACED, DecisionKind.REVOKED):
        with pytest.raises(DecisionError) as refused:
            decide(node, kind, name)
        assert str(refused.value) == f"{name} can't decide: {message}"
    assert standing(node) == before


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.STEWARD, Role.ADMINISTRATOR])
def test_an_account_that_may_review_decides(node: Database, role: Role) -> None:
    with node.begin() as connection:
        accounts.create(connection, "anna", role)
    made = decide(node, DecisionKind.DEFACED, " Anna ")
    assert standing(node) == (made,)


def test_a_node_whose_accounts_are_all_disabled_takes_no_other_names(node: Database) -> None:
    with node.begin() as connection:
        accounts.create(connection, "anna", Role.REVIEWER)
        accounts.set_enabled(connection, "anna", False)
    with pytest.raises(DecisionError, match="no such account"):
        decide(node, DecisionKind.DEFACED, "bob")


@pytest.mark.parametrize("note", ["", "  ", "two\nlines", "x" * 501])
def test_a_decision_without_a_plain_note_is_refused(node: Database, note: str) -> None:
    with node.begin() as connection, pytest.raises(DecisionError, match="note"):
        record(connection, SERIES, DecisionKind.DEFACED, account="anna", note=note)
    assert standing(node) == ()


def test_an_unknown_series_is_named(node: Database) -> None:
    with node.begin() as connection:
        with pytest.raises(DecisionError, match=r"1\.9: no series"):
            record(connection, "1.9", DecisionKind.DEFACED, account="anna", note="why")
        with pytest.raises(DecisionError, match=r"1\.9: no series"):
            decisions.history(connection, "1.9")


def test_decisions_are_found_by_their_index(node: Database) -> None:
    decide(node, DecisionKind.DEFACED)

    def ask(connection: sa.Connection) -> None:
        decisions.standing(connection, [1, 2, 3])
        decisions.history(connection, SERIES)

    if node.is_sqlite:
        for plan in query_plans(node, ask):
            assert "USING INDEX" in plan or "USING COVERING INDEX" in plan
            assert "SCAN" not in plan
        return
    with node.read() as connection:
        connection.execute(sa.text("SET enable_seqscan = off"))
        query = "EXPLAIN SELECT * FROM human_decisions WHERE series_id IN (1, 2, 3)"
        plan = "\n".join(connection.scalars(sa.text(query)))
    assert human_decisions.name in plan
    assert "ix_human_decisions_series_id" in plan
