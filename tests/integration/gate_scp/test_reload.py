"""The gate's door takes new rules, which an open association is not bothered by; and it stops."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.site import wait_until
from tests.integration.gate_scp.door import running_gate, site
from tests.integration.gate_scp.sender import associated

pytestmark = pytest.mark.peer


def test_a_new_sender_is_let_in_and_an_open_association_goes_on(tmp_path: Path) -> None:
    with site(tmp_path / "site") as at, running_gate(at) as gate:
        with associated(at.port, "RESEARCH7", "DESK") as association:
            text = at.config.read_text()
            at.config.write_text(text.replace('["DESK"]', '["VIEWER"]'))
            gate.send_signal(signal.SIGHUP)
            reloaded = lambda: b"configuration reloaded" in at.log.read_bytes()  # noqa: E731
            wait_until("the gate has read it", reloaded, 30, at.log)
            assert association.is_established
            with associated(at.port, "RESEARCH7", "VIEWER"):
                """It is let in."""
        with pytest.raises(AssertionError), associated(at.port, "RESEARCH7", "DESK"):
            """It is not let in any more."""


def test_it_stops_within_the_time_of_its_unit_and_tells_whoever_is_idle(tmp_path: Path) -> None:
    """`TimeoutStopSec=60`: what is open still is aborted before that, not killed."""
    with site(tmp_path / "site") as at, running_gate(at) as gate:
        with associated(at.port, "RESEARCH7", "DESK") as association:
            gate.send_signal(signal.SIGTERM)
            wait_until("it is told", lambda: association.is_aborted, 40, at.log)
        assert gate.wait(30) == 0
