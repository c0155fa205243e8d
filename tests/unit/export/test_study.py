"""A study leaves instance by instance; whatever changes meanwhile stops it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from dicomnode.config_policy import GateSettings
from dicomnode.errors import DeliveryError, DeliveryRefusedError
from dicomnode.export.run import export_all, released
from dicomnode.export.study import DestinationAwayError, Exporter, StudyOutcome, StudyResult
from dicomnode.gate import keys
from dicomnode.gate import receipts as gate_receipts
from dicomnode.gate.policy import Policy
from dicomnode.gate.receipt import Person, SignedReceipt
from dicomnode.gate.release import Exit
from dicomnode.tracking import decisions, exports, receipts
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.exports import ExportState
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.spool import Spool
from tests.factories import make_series
from tests.unit.gate.released import Study, new_key, receive, received_study

POLICY = Policy("heads", GateSettings())


def wanted(_subjects: object) -> str:
    return ""


class Basket:
    """A destination in memory; `before` is called with the number of each file that comes."""

    name = "basket"

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.sealed: list[int] = []
        self.before: Callable[[int], None] = lambda _number: None

    @contextmanager
    def study(
        self, study_instance_uid: str, encodings: Collection[tuple[str, str]]
    ) -> Iterator[Basket]:
        yield self

    def put(self, series_instance_uid: str, sop_instance_uid: str, file: bytes) -> None:
        self.before(len(self.files))
        self.files.append(file)

    def seal(self, signed: SignedReceipt) -> None:
        self.sealed.append(signed.receipt.number)


@pytest.fixture
def basket() -> Basket:
    return Basket()


@pytest.fixture
def exporter(database: Database, spool: Spool, basket: Basket, tmp_path: Path) -> Exporter:
    exit_ = Exit(database, new_key(tmp_path), POLICY, wanted, basket.name, "anna")
    return Exporter(exit_, basket, database, spool)


@pytest.fixture
def study(database: Database, spool: Spool, tmp_path: Path) -> Study:
    return received_study(database, spool, tmp_path / "made")


def object_(database: Database, study: Study) -> None:
    """A person objects."""
    uid = str(dcmread(study.files[0]).SeriesInstanceUID)
    with database.begin() as connection:
        decisions.record(connection, uid, DecisionKind.NOT_DEFACED, account="bob", note="a nose")


def states(database: Database) -> list[tuple[ExportState, int, int]]:
    with database.read() as connection:
        found = exports.newest(connection)
    return [(one.state, one.left_count, one.receipt_number) for one in found]


def test_what_leaves_is_what_lies_in_the_spool(
    exporter: Exporter, basket: Basket, study: Study, database: Database
) -> None:
    result = exporter.export(study.uid)
    assert (result.outcome, result.instances, basket.sealed) == (StudyOutcome.LEFT, 4, [1])
    assert set(basket.files) == {file.read_bytes() for file in study.files}
    assert states(database) == [(ExportState.LEFT, 4, 1)]


def test_a_study_that_becomes_held_between_two_instances_stops(
    exporter: Exporter, basket: Basket, study: Study, database: Database
) -> None:
    basket.before = lambda number: object_(database, study) if number == 1 else None
    result = exporter.export(study.uid)
    assert (result.outcome, result.instances, len(basket.files)) == (StudyOutcome.HELD, 2, 2)
    assert any("bob decided not defaced" in reason for reason in result.reasons)
    assert (basket.sealed, states(database)) == ([], [(ExportState.STOPPED, 2, 1)])


def test_late_data_that_is_examined_meanwhile_makes_a_new_receipt(
    exporter: Exporter,
    basket: Basket,
    study: Study,
    database: Database,
    spool: Spool,
    tmp_path: Path,
) -> None:
    def arrive(number: int) -> None:
        if number == 1:
            receive(database, spool, make_series(tmp_path / "late", series="late", slices=4))

    basket.before = arrive
    result = exporter.export(study.uid)
    assert (result.outcome, result.receipt_number, result.instances) == (StudyOutcome.LEFT, 2, 10)
    assert basket.sealed == [2]
    assert states(database) == [(ExportState.LEFT, 8, 2), (ExportState.STOPPED, 2, 1)]


def test_networks_that_are_installed_meanwhile_stop_it(
    exporter: Exporter, basket: Basket, study: Study, database: Database, tmp_path: Path
) -> None:
    digest = [""]
    exit_ = Exit(database, new_key(tmp_path, "k"), POLICY, lambda _: digest[0], basket.name, "anna")
    basket.before = lambda number: digest.append(digest.pop() + "new")
    result = Exporter(exit_, basket, database, exporter.spool).export(study.uid)
    assert (result.outcome, result.instances) == (StudyOutcome.HELD, 1)


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_file_that_is_not_what_was_examined_stops_its_study(
    exporter: Exporter, basket: Basket, study: Study, database: Database, how: str
) -> None:
    victim = study.files[-1]
    if how == "gone":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-1] + b"\x07")
    result = exporter.export(study.uid)
    assert (result.outcome, basket.sealed) == (StudyOutcome.FAILED, [])
    assert states(database)[0][0] is ExportState.STOPPED


def test_a_destination_that_is_away_ends_the_run_and_the_next_one_goes_on(
    exporter: Exporter, basket: Basket, study: Study, database: Database
) -> None:
    def fail(number: int) -> None:
        if number == 3:
            raise DeliveryError("the archive hangs")

    basket.before = fail
    with pytest.raises(DestinationAwayError, match="hangs"):
        exporter.export(study.uid)
    told = []
    summary = export_all(exporter, [study.uid, "1.2.3"], told.append)
    assert (summary.away, summary.has_failed, len(told)) == ("the archive hangs", True, 1)
    basket.before = lambda _number: None
    assert exporter.export(study.uid).instances == 1
    assert states(database) == [(ExportState.LEFT, 4, 1)]


def test_a_destination_that_refuses_one_study_takes_the_others(
    exporter: Exporter,
    basket: Basket,
    study: Study,
    database: Database,
    spool: Spool,
    tmp_path: Path,
) -> None:
    def refuse(number: int) -> None:
        if number == 0:
            basket.files.append(b"refused")
            raise DeliveryRefusedError("no presentation context")

    basket.before = refuse
    other = received_study(database, spool, tmp_path / "made", "other")
    summary = export_all(exporter, [study.uid, other.uid], lambda _result: None)
    assert summary.studies == {StudyOutcome.FAILED: 1, StudyOutcome.LEFT: 1}


def test_a_study_that_gets_no_receipt_does_not_hold_up_the_others(
    exporter: Exporter, study: Study, database: Database, spool: Spool, tmp_path: Path
) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE instances SET pixel_sha256 = 'other' WHERE id = 1"))
    other = received_study(database, spool, tmp_path / "made", "other")
    told: list[StudyResult] = []
    summary = export_all(exporter, [study.uid, other.uid], told.append)
    assert summary.studies == {StudyOutcome.FAILED: 1, StudyOutcome.LEFT: 1}
    assert "somebody changed the database" in told[0].reasons[0]


def test_all_released_are_found_and_no_other(
    exporter: Exporter, study: Study, database: Database, spool: Spool, tmp_path: Path
) -> None:
    others = [received_study(database, spool, tmp_path / "made", f"s{n}") for n in range(3)]
    object_(database, others[1])
    uids = sorted(released(database, POLICY, wanted))
    assert uids == sorted([study.uid, others[0].uid, others[2].uid])
    with database.read() as connection:
        assert receipts.newest(connection) == []


@pytest.fixture
def release_by_hand(
    exporter: Exporter, database: Database, study: Study, tmp_path: Path
) -> Callable[[], SignedReceipt]:
    """What the desk does."""

    def release() -> SignedReceipt:
        key, decision = keys.private_key(tmp_path / "key"), exporter.exit.decide(study.uid)
        with database.begin() as connection:
            found = verdicts_of_study(connection, study.uid)
            by = Person("sue", "the trial asked for it")
            return gate_receipts.issue(connection, key, decision, found, policy=POLICY, by=by)

    return release


def test_what_a_steward_releases_leaves_under_the_receipt_that_names_them(
    exporter: Exporter, basket: Basket, study: Study, release_by_hand: Callable[[], SignedReceipt]
) -> None:
    assert release_by_hand().receipt.number == 1
    result = exporter.export(study.uid)
    assert (result.outcome, result.receipt_number, basket.sealed) == (StudyOutcome.LEFT, 1, [1])


def test_a_release_by_hand_sends_nothing_a_second_time(
    exporter: Exporter,
    basket: Basket,
    study: Study,
    database: Database,
    release_by_hand: Callable[[], SignedReceipt],
) -> None:
    assert exporter.export(study.uid).receipt_number == 1
    assert release_by_hand().receipt.number == 2
    result = exporter.export(study.uid)
    assert (result.outcome, result.receipt_number, len(basket.files)) == (
        StudyOutcome.LEFT_BEFORE,
        2,
        4,
    )
    assert replace(exporter, again=True).export(study.uid).instances == 4
    object_(database, study)
    with database.begin() as connection:
        uid = str(dcmread(study.files[0]).SeriesInstanceUID)
        decisions.record(connection, uid, DecisionKind.DEFACED, account="bob", note="no nose")
    # Another decision: neither receipt before says the same.
    result = exporter.export(study.uid)
    assert (result.outcome, result.receipt_number, result.instances) == (StudyOutcome.LEFT, 3, 4)


def test_an_export_that_was_cut_off_goes_on_under_the_release_by_hand(
    exporter: Exporter,
    basket: Basket,
    study: Study,
    database: Database,
    release_by_hand: Callable[[], SignedReceipt],
) -> None:
    def away(number: int) -> None:
        if number == 3:
            raise DeliveryError("the archive is away")

    basket.before = away
    with pytest.raises(DestinationAwayError):
        exporter.export(study.uid)
    release_by_hand()
    basket.before = lambda _number: None
    result = exporter.export(study.uid)
    assert (result.outcome, result.receipt_number, result.instances) == (StudyOutcome.LEFT, 2, 1)
    assert len(set(basket.files)) == len(basket.files) == 4
    assert states(database) == [(ExportState.LEFT, 1, 2), (ExportState.STOPPED, 3, 1)]
