"""Proof that a destination kept an object: C-FIND and Storage Commitment with a real peer."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import SegmentationStorage

from dicomnode.config import DestinationSettings
from dicomnode.delivery.proof import ask_commitment, has_instance
from dicomnode.delivery.store import send
from dicomnode.dicom.storage_commitment import NO_SUCH_INSTANCE, Reference, Report, Request
from dicomnode.errors import DeliveryRefusedError
from tests.small_node import write_seg
from tests.storage_peer import StoragePeer, storage_peer

KEPT, LOST = Reference(SegmentationStorage, "1.2.3.1"), Reference(SegmentationStorage, "1.2.3.2")
REQUEST = Request("2.25.77", (KEPT, LOST))


def _destination(peer: StoragePeer) -> DestinationSettings:
    return DestinationSettings(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=peer.port, timeout_seconds=60.0
    )


def test_what_is_there_is_found_and_what_was_lost_is_not(tmp_path: Path) -> None:
    files = [write_seg(tmp_path / uid, uid, "1.2.3") for uid in ("1.2.3.2", "1.2.3.1")]
    with storage_peer() as peer:
        peer.loses = 1
        send(_destination(peer), files, "NODE")
        found = [
            has_instance(_destination(peer), "NODE", "1.2", "1.2.3", each.sop_instance_uid)
            for each in (KEPT, LOST)
        ]
    assert found == [True, False]


def test_a_report_over_the_same_association_says_which_were_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dicomnode.delivery.proof._WAIT_SECONDS", 60.0)
    with storage_peer() as peer:
        peer.kept.add(KEPT.sop_instance_uid)
        report = ask_commitment(_destination(peer), "NODE", REQUEST)
    assert report == Report("2.25.77", (KEPT,), {LOST: NO_SUCH_INSTANCE})
    assert peer.answers == [0x0000]


def test_one_that_reports_later_is_not_waited_for() -> None:
    with storage_peer() as peer:
        peer.reports_to = None
        assert ask_commitment(_destination(peer), "NODE", REQUEST) is None
    assert len(peer.asked) == 2


def test_one_that_offers_no_proof_is_told() -> None:
    with storage_peer(services=()) as peer:
        with pytest.raises(DeliveryRefusedError, match="Storage Commitment"):
            ask_commitment(_destination(peer), "NODE", REQUEST)
        with pytest.raises(DeliveryRefusedError, match="FIND"):
            has_instance(_destination(peer), "NODE", "1.2", "1.2.3", "1.2.3.1")
