"""The gate's service as a peer meets it, over a real association on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRootFind,
)

from dicomnode.config import Settings
from dicomnode.config_gate_ae import GateTitleSettings
from dicomnode.dimse import accepted
from dicomnode.gate_scp.door import Ways
from dicomnode.gate_scp.find import Question, Released
from dicomnode.gate_scp.handlers import GateHandlers
from dicomnode.gate_scp.waiting import WaitingRoom
from dicomnode.tracking import audit
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

TITLE = GateTitleSettings(ae_title="RESEARCH7", project="default", archive="research")


class EndlessPages:
    """A node of endless studies, none of them released."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()

    def answers(self, question: Question) -> Iterator[None]:
        self.began.set()
        try:
            for _ in range(3000):
                time.sleep(0.01)
                yield None
        finally:
            self.ended.set()


@contextmanager
def served(database: Database, folder: Path, pages: EndlessPages) -> Iterator[int]:
    """The port of the gate's handlers."""
    ways = Ways(
        database,
        Spool(folder),
        {TITLE.ae_title: TITLE},
        {},
        lambda *_: pytest.fail("no exit"),
        "NODE",
    )
    handlers = GateHandlers(
        Settings(), ways, WaitingRoom(ways, Spool(folder)), lambda _: cast(Released, pages)
    )
    entity = AE(ae_title="GATE")
    entity.add_supported_context(StudyRootFind)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers.handlers())
    assert server is not None
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


@contextmanager
def asking(port: int, called: str = "RESEARCH7") -> Iterator[Association]:
    entity = AE(ae_title="DESK")
    entity.add_requested_context(StudyRootFind)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    try:
        yield association
    finally:
        association.abort()


def everything() -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = ""
    return asked


@pytest.mark.timeout(60)
def test_a_cancel_ends_a_question_that_has_no_answer_yet(
    database: Database, tmp_path: Path
) -> None:
    pages = EndlessPages()
    with served(database, tmp_path, pages) as port, asking(port) as association:

        def cancel() -> None:
            pages.began.wait(10)
            association.send_c_cancel(7, query_model=StudyRootFind)

        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        ((status, _),) = association.send_c_find(everything(), StudyRootFind, msg_id=7)
        cancelling.join()
    assert status.Status == 0xFE00


@pytest.mark.timeout(60)
def test_a_question_ends_when_the_peer_aborts(database: Database, tmp_path: Path) -> None:
    pages = EndlessPages()
    with served(database, tmp_path, pages) as port, asking(port) as association:
        asker = threading.Thread(
            target=lambda: list(association.send_c_find(everything(), StudyRootFind))
        )
        asker.start()
        assert pages.began.wait(10)
        association.abort()
        assert pages.ended.wait(5)
        asker.join(10)


@pytest.mark.timeout(60)
def test_a_flood_of_rejected_associations_does_not_grow_the_audit_log(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepted, "_RECORDS_PER_MINUTE", 2)
    with served(database, tmp_path, EndlessPages()) as port:
        for _ in range(4):
            with asking(port, called="NOBODY") as association:
                assert association.is_rejected
    with database.read() as connection:
        assert len(audit.newest(connection, event="association rejected")) == 2
