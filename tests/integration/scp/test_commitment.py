"""Storage Commitment: what those who sent to a real receiver are told, and what it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_role

from dicomnode.delivery.association import responses_only
from dicomnode.dicom.storage_commitment import (
    ALL_COMMITTED,
    CLASS_CONFLICT,
    INVALID_ARGUMENT,
    LONGEST_BYTES,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    SOME_FAILED,
    STORAGE_COMMITMENT,
    TOO_MANY,
    WELL_KNOWN_INSTANCE,
    Reference,
    Report,
    Request,
    read_report,
    report_data_set,
    request_data_set,
)
from dicomnode.jobs.commitment_reports import CommitmentReports
from dicomnode.scp import commitment
from dicomnode.tracking import commitment_requests, commitments
from dicomnode.tracking.schema import commitment_requests as requests_table
from dicomnode.tracking.spool import object_name
from tests.factories import make_series
from tests.integration.scp.receiving import (
    Node,
    queue_delivery,
    running,
    shared_settings,
    wait_until,
)

UNKNOWN = Reference(CTImageStorage, "1.2.826.0.77.1")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("commitment")
    with running(shared_settings(folder), folder) as started:
        yield started


class Sender:
    """An SCU; what is reported to it over its own associations, or as an SCP, is kept."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, Report]] = []
        self.came = threading.Event()
        self.handlers = [(evt.EVT_N_EVENT_REPORT, self._report)]

    def _report(self, event: evt.Event) -> tuple[int, None]:
        report = read_report(event.event_information)
        self.reports.append((event.request.EventTypeID, report))
        self.came.set()
        return 0x0000, None

    @contextmanager
    def associated(
        self, node: Node, *sop_classes: str, as_scp: bool = False
    ) -> Iterator[Association]:
        entity = AE("MODALITY")
        for sop_class in (STORAGE_COMMITMENT, *sop_classes):
            entity.add_requested_context(sop_class)
        host, port = node.address
        opened = entity.associate(
            host,
            int(port),
            ae_title=node.settings.scp.ae_title,
            evt_handlers=self.handlers,
            ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)] if as_scp else [],
        )
        assert opened.is_established
        try:
            yield opened
        finally:
            opened.release()

    @contextmanager
    def listening(self) -> Iterator[int]:
        entity = AE("MODALITY")
        entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=self.handlers)
        assert server is not None
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def act(association: Association, data_set: Dataset, action: int = 1) -> int:
    answer, _ = association.send_n_action(data_set, action, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE)
    return int(answer.Status)


def ask(association: Association, transaction: str, *references: Reference) -> int:
    return act(association, request_data_set(Request(transaction, references)))


@pytest.fixture(scope="module")
def stored(node: Node, tmp_path_factory: pytest.TempPathFactory) -> list[Reference]:
    files = make_series(tmp_path_factory.mktemp("sent"), study="commitment", series="a", slices=3)
    with Sender().associated(node, CTImageStorage, MRImageStorage) as association:
        for file in files:
            assert association.send_c_store(dcmread(file)).Status == 0x0000
    return [Reference(each.SOPClassUID, each.SOPInstanceUID) for each in map(dcmread, files)]


def waiting(node: Node) -> int:
    database = node.database
    with database.read() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(requests_table))
    database.close()
    return int(count or 0)


def test_a_sender_that_stays_is_told_at_once_what_is_kept(
    node: Node, stored: list[Reference]
) -> None:
    sender = Sender()
    with sender.associated(node) as association:
        assert ask(association, "2.25.1", *stored[1:]) == 0x0000
        assert sender.came.wait(30)
        wait_until(lambda: waiting(node) == 0)
        assert association.is_established
    assert sender.reports == [(ALL_COMMITTED, Report("2.25.1", tuple(stored[1:])))]


def test_what_is_not_here_is_another_or_was_changed_is_not_committed(
    node: Node, stored: list[Reference]
) -> None:
    broken, whole, other = stored[0], stored[1], Reference("1.2.3", stored[2].sop_instance_uid)
    path = node.spool.path(object_name(broken.sop_instance_uid))
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    sender = Sender()
    try:
        with sender.associated(node) as association:
            assert ask(association, "2.25.2", broken, whole, other, UNKNOWN) == 0x0000
            assert sender.came.wait(30)
            wait_until(lambda: waiting(node) == 0)
    finally:
        path.write_bytes(content)
    failed = {broken: PROCESSING_FAILURE, other: CLASS_CONFLICT, UNKNOWN: NO_SUCH_INSTANCE}
    assert sender.reports == [(SOME_FAILED, Report("2.25.2", (whole,), failed))]


def test_one_that_sends_on_while_it_is_told_is_served(
    node: Node, stored: list[Reference], tmp_path: Path
) -> None:
    files = make_series(tmp_path, study="commitment", series="b", slices=30)
    sender = Sender()
    with sender.associated(node, CTImageStorage, MRImageStorage) as association:
        assert ask(association, "2.25.3", *stored) == 0x0000
        while not sender.came.is_set():
            for file in files:
                with responses_only(association):  # pynetdicom's SCU stumbles over requests, too
                    assert association.send_c_store(dcmread(file)).Status == 0x0000
    assert [report.transaction_uid for _, report in sender.reports] == ["2.25.3"]


def test_one_that_has_hung_up_is_told_by_the_worker_until_it_takes_it(
    node: Node, stored: list[Reference]
) -> None:
    with Sender().associated(node) as association:
        assert ask(association, "2.25.4", *stored, UNKNOWN) == 0x0000
    assert waiting(node) == 1
    database, sender = node.database, Sender()
    with sender.listening() as port:
        delivery = node.settings.delivery.model_copy(update={"return_port": port})
        settings = node.settings.model_copy(update={"delivery": delivery})
        reports = CommitmentReports(settings, database, node.spool)
        wait_until(lambda: reports.send_due() is None and sender.came.is_set(), 30)
    database.close()
    report = Report("2.25.4", tuple(stored), {UNKNOWN: NO_SUCH_INSTANCE})
    assert sender.reports == [(SOME_FAILED, report)]
    assert waiting(node) == 0


def bad_transaction() -> Dataset:
    data_set = request_data_set(Request("2.25.9", (UNKNOWN,)))
    data_set.TransactionUID = ""
    return data_set


def no_instances() -> Dataset:
    return request_data_set(Request("2.25.9", ()))


def nothing_of_it() -> Dataset:
    data_set = Dataset()
    data_set.PatientID = "SECRET"
    return data_set


@pytest.mark.parametrize("make", [bad_transaction, no_instances, nothing_of_it])
def test_a_request_that_says_nothing_is_refused(node: Node, make: Callable[[], Dataset]) -> None:
    with Sender().associated(node) as association:
        assert act(association, make()) == INVALID_ARGUMENT
        assert act(association, no_instances(), action=2) == commitment.NO_SUCH_ACTION


def test_a_request_that_is_too_long_is_not_even_decoded(node: Node) -> None:
    data_set = request_data_set(Request("2.25.9", (UNKNOWN,)))
    data_set.add_new(0x00420011, "OB", bytes(LONGEST_BYTES))
    with Sender().associated(node) as association:
        assert act(association, data_set) == TOO_MANY


def test_a_report_of_a_destination_is_recorded_and_one_of_a_stranger_is_not(node: Node) -> None:
    database = node.database
    with database.begin() as c:
        delivery_id = queue_delivery(c, node.spool)
        transaction = commitments.ask(c, delivery_id, "1.2.3", datetime.now(UTC))
    kept = (Reference(MRImageStorage, "1.2.3"),)

    def tell(uid: str) -> int:
        report = report_data_set(Report(uid, kept))
        with Sender().associated(node, as_scp=True) as association:
            answer, _ = association.send_n_event_report(
                report, ALL_COMMITTED, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
            )
        return int(answer.Status)

    assert tell("2.25.88") == commitment.NO_SUCH_TRANSACTION
    assert tell(transaction) == commitment.SUCCESS
    with database.read() as c:
        (asked,) = commitments.of_delivery(c, delivery_id)
    database.close()
    assert asked.outcome is commitments.Commitment.COMMITTED


def test_what_one_peer_may_have_waiting_is_bounded(node: Node) -> None:
    database, now = node.database, datetime.now(UTC)
    most = commitment_requests.MOST_OF_ONE_PEER
    with database.begin() as c:
        asked = [
            commitment_requests.add(c, f"2.25.{n}", "FLOOD", "192.0.2.9", [UNKNOWN], now)
            for n in range(most + 1)
        ]
        assert asked[-1] is None
        assert all(asked[:-1])
        for each in asked[:-1]:
            assert each is not None
            commitment_requests.done(c, each)
    database.close()
