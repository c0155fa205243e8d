"""What a request as a whole is answered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dicomnode.domain import InstanceHeader
from dicomnode.intake.refusals import REFUSALS, Reason
from dicomnode.web.store_report import StoreReport

CT = "1.2.840.10008.5.1.4.1.1.2"
HEADER = InstanceHeader(CT, "1.2.3", "1.2", "1.2.1", "1.2.840.10008.1.2", "CT")
UNNAMED = InstanceHeader("", "../evil", "", "", "", "")


def report(stored: int, failed: Sequence[Reason]) -> StoreReport:
    return StoreReport([HEADER] * stored, [(HEADER, reason) for reason in failed])


@pytest.mark.parametrize(
    ("stored", "failed", "status"),
    [
        (2, [], 200),
        (0, [], 400),
        (1, [Reason.CONFLICT], 202),
        (1, [Reason.OUT_OF_SPACE], 202),
        (0, [Reason.CONFLICT], 409),
        (0, [Reason.CONFLICT, Reason.OUT_OF_SPACE], 409),
        (0, [Reason.OUT_OF_SPACE], 503),
        (0, [Reason.NOT_RECORDED, Reason.NOT_STORED], 503),
    ],
)
def test_the_status_of_a_request(stored: int, failed: list[Reason], status: int) -> None:
    assert report(stored, failed).status() == status


@pytest.mark.parametrize("reason", list(Reason))
def test_a_failure_has_its_reason_and_its_object(reason: Reason) -> None:
    module = report(0, [reason]).module()
    (item,) = module["00081198"]["Value"]
    assert item["00081197"] == {"vr": "US", "Value": [REFUSALS[reason][0]]}
    assert item["00081155"] == {"vr": "UI", "Value": ["1.2.3"]}
    assert "00081199" not in module


def test_an_object_that_does_not_say_what_it_is_stands_among_other_failures() -> None:
    module = StoreReport(failed=[(UNNAMED, Reason.UNREADABLE)]).module()
    assert module["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    assert "00081198" not in module
    assert "evil" not in str(module)
