"""Stages and deliveries are timed and counted, whatever becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.app.measured import StageClock, measured
from dicomnode.config import DestinationSettings
from dicomnode.errors import DeliveryError, DeliveryRefusedError
from dicomnode.meters import Distribution, Meters

PACS = DestinationSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)
SENDER = PACS.model_copy(update={"name": "sender:CT1@10.0.0.1"})


def values(meters: Meters, name: str) -> dict[tuple[str, ...], object]:
    return {k: v for f in meters.families() if f.name == name for k, v in f.values.items()}


def test_each_stage_is_timed_under_a_name_that_no_series_chose() -> None:
    meters = Meters()
    clock = StageClock(meters)
    for said in ("reading the series", "volume Smith^John", "network face", "anything else"):
        clock(said)
    clock.end()
    clock.end()
    found = values(meters, "examination_stage_seconds")
    assert list(found) == [("sort",), ("volume",), ("network face",), ("other",)]
    assert all(isinstance(one, Distribution) and sum(one.counts) == 1 for one in found.values())


@pytest.mark.parametrize(
    ("error", "outcome"), [(DeliveryRefusedError("no"), "refused"), (DeliveryError("x"), "failed")]
)
def test_a_delivery_that_fails_is_counted_and_still_fails(error: Exception, outcome: str) -> None:
    def deliver(*_: object) -> tuple[str, ...]:
        raise error

    meters = Meters()
    with pytest.raises(type(error)):
        measured(deliver, meters)(PACS, [Path("seg.dcm")], "DICOMNODE")
    assert values(meters, "delivery_attempts_total") == {("pacs", outcome): 1}
    assert values(meters, "destination_last_success_timestamp_seconds") == {}


def test_a_sender_that_gets_its_seg_back_is_not_named() -> None:
    meters = Meters()
    send = measured(lambda *_: ("a warning",), meters)
    assert send(SENDER, [], "DICOMNODE") == ("a warning",)
    assert send(PACS, [], "DICOMNODE") == ("a warning",)
    found = values(meters, "delivery_attempts_total")
    assert found == {("other", "delivered"): 1, ("pacs", "delivered"): 1}
