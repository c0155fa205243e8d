"""Who may open an association, and what a refused object is answered."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from dicomnode.config import SCPSettings
from dicomnode.dimse.admission import AssociationRequest, decide
from dicomnode.errors import ConfigurationError, PortInUseError
from dicomnode.intake.listening import listen
from dicomnode.intake.refusals import REFUSALS, Reason
from dicomnode.tls import PeerCertificate

BOUND = {
    "certificate_file": "node.pem",
    "client_ca_file": "ca.pem",
    "ae_certificates": {"PACS": ["san:pacs.example", "cn:PACS"]},
}
REQUEST = AssociationRequest("PACS", "DICOMNODE", "10.1.2.3", 1, 1)


def rejection(settings: dict[str, Any], **changes: Any) -> tuple[int, int, int] | None:
    decided = decide(SCPSettings(**settings), replace(REQUEST, **changes))
    return decided and (decided.result, decided.source, decided.diagnostic)


@pytest.mark.parametrize(
    ("settings", "changes", "expected"),
    [
        ({}, {}, None),
        ({}, {"called_ae_title": "OTHER"}, (1, 1, 7)),
        ({"require_called_ae_title": False}, {"called_ae_title": "OTHER"}, None),
        ({"allowed_calling_ae_titles": ["PACS"]}, {}, None),
        ({"allowed_calling_ae_titles": ["CT1"]}, {}, (1, 1, 3)),
        ({"allowed_calling_ae_titles": ["pacs"]}, {}, (1, 1, 3)),
        ({"allowed_networks": ["10.1.0.0/16"]}, {}, None),
        ({"allowed_networks": ["10.2.0.0/16"]}, {}, (1, 1, 1)),
        ({"allowed_networks": ["10.1.0.0/16"]}, {"peer_address": "::ffff:10.1.2.3"}, None),
        ({"allowed_networks": ["10.1.0.0/16"]}, {"peer_address": "2001:db8::1"}, (1, 1, 1)),
        ({"allowed_networks": ["fe80::/10"]}, {"peer_address": "fe80::1%eth0"}, None),
        ({"tls": BOUND}, {}, (1, 1, 3)),
        ({"tls": BOUND}, {"certificate": PeerCertificate(frozenset({"cn:pacs"}))}, None),
        ({"tls": BOUND}, {"certificate": PeerCertificate(frozenset({"cn:pacs2"}))}, (1, 1, 3)),
        ({"tls": BOUND}, {"calling_ae_title": "CT1"}, None),
        ({"maximum_associations_per_peer": 2}, {"open_from_peer": 2}, None),
        ({"maximum_associations_per_peer": 2}, {"open_from_peer": 3}, (2, 3, 2)),
        ({"maximum_associations": 2}, {"open_in_all": 3}, (2, 3, 2)),
    ],
)
def test_the_rejection_of_each_rule(
    settings: dict[str, Any], changes: dict[str, Any], expected: tuple[int, int, int] | None
) -> None:
    assert rejection(settings, **changes) == expected


def test_every_refusal_has_a_failure_status_and_a_comment_that_fits() -> None:
    assert set(REFUSALS) == set(Reason)
    for status, comment in REFUSALS.values():
        assert status & 0xF000 in (0xA000, 0xC000) or status in (0x0110, 0x0122)
        assert 0 < len(comment) <= 64


def test_a_busy_port_is_named(free_port: int) -> None:
    with (
        listen("127.0.0.1", free_port),
        pytest.raises(PortInUseError, match=f"port {free_port} on 127.0.0.1 is used by another"),
    ):
        listen("127.0.0.1", free_port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_ours_is_named(host: str, free_port: int) -> None:
    with pytest.raises(ConfigurationError, match=host):
        listen(host, free_port)


def test_the_listening_socket_can_be_had_on_ipv6(free_port: int) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listen("::1", free_port).close()
    except ConfigurationError:
        pytest.skip("this machine has no IPv6 loopback")
