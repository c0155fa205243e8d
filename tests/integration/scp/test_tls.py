"""DICOM over TLS (PS3.15 B.9, B.10) with dcmtk, openssl and this node as peers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dicomnode.app import checkup
from dicomnode.config import DestinationSettings
from dicomnode.delivery.store import echo
from dicomnode.errors import AssociationRejectedError, DeliveryError, RetrievalError
from dicomnode.retrieval.move import require_receiver
from tests.certificates import Authority, Pair
from tests.factories import make_series
from tests.integration.scp.receiving import (
    ECHOSCU,
    Node,
    data_set_bytes,
    needs_dcmtk,
    running,
    shared_settings,
    storescu,
    wait_until,
)
from tests.ports import free_port

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
OPENING_SECONDS = 2.0


class Site:
    """A node that listens on both ports, and the certificates around it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.node = self.authority.issue("node")
        self.scanner = self.authority.issue("scanner")
        self.other = self.authority.issue("other")
        self.stranger = Authority(folder, "stranger").issue("strange-scanner")

    def tls(self, **more: Any) -> dict[str, Any]:
        return {
            "certificate_file": self.node.certificate,
            "key_file": self.node.key,
            "client_ca_file": self.authority.certificate,
            "port": free_port(),
        } | more


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def shared_node(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("tls")
    bound = {
        "BYSAN": ["san:scanner"],
        "BYCN": ["cn:Scanner"],
        "BYHASH": [f"sha256:{site.scanner.fingerprint}"],
    }
    settings = shared_settings(
        folder,
        tls=site.tls(only=False, ae_certificates=bound),
        acse_timeout_seconds=OPENING_SECONDS,
    )
    with running(settings, folder / "node") as started:
        yield started


@pytest.fixture
def node(shared_node: Node) -> Node:
    return shared_node.mark()


def tls_port(node: Node) -> int:
    assert node.settings.scp.tls is not None
    return node.settings.scp.tls.port


def ask(
    node: Node,
    site: Site,
    *,
    title: str = "ANYBODY",
    shown: Pair | None = None,
    port: int = 0,
    name: str = "",
) -> None:
    """C-ECHO as the node sends it; raises `DeliveryError` where it isn't answered."""
    ours = {"certificate_file": shown.certificate, "key_file": shown.key} if shown else {}
    tls = {"ca_file": site.authority.certificate, "server_name": name} | ours
    there = {"host": "127.0.0.1", "port": port or tls_port(node), "tls": tls}
    named = {"name": "node", "ae_title": "DICOMNODE", "timeout_seconds": 20.0}
    echo(DestinationSettings.model_validate(named | there), title)


@needs_dcmtk
@pytest.mark.peer
def test_dcmtk_stores_over_tls_and_without(node: Node, site: Site, tmp_path: Path) -> None:
    first, second = make_series(
        tmp_path / "made", slices=2, study=tmp_path.name, series=tmp_path.name
    )
    trusts = ("+cf", str(site.authority.certificate))
    shows = ("+tls", str(site.scanner.key), str(site.scanner.certificate))
    command = [shutil.which("storescu", path="/usr/bin") or "storescu", "-aec", "DICOMNODE"]
    sent = subprocess.run(
        [*command, *shows, *trusts, "127.0.0.1", str(tls_port(node)), str(first)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (sent.returncode, sent.stderr) == (0, "")
    assert storescu(node, second).returncode == 0
    kept = {data_set_bytes(path) for path in node.objects()}
    assert kept == {data_set_bytes(first), data_set_bytes(second)}


@needs_dcmtk
@pytest.mark.peer
def test_dcmtk_without_a_certificate_is_let_in_where_none_is_required(
    node: Node, site: Site
) -> None:
    anonymous = ["+tla", "+cf", str(site.authority.certificate)]
    asked = subprocess.run(
        [ECHOSCU, *anonymous, "-aec", "DICOMNODE", "127.0.0.1", str(tls_port(node))],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 0


@pytest.mark.parametrize("title", ["BYSAN", "BYCN", "BYHASH"])
def test_an_ae_title_that_is_bound_needs_its_certificate(
    node: Node, site: Site, title: str
) -> None:
    ask(node, site, title=title, shown=site.scanner)
    ask(node, site, title="ANYBODY", shown=site.other)
    for shown in (site.other, None):
        with pytest.raises(AssociationRejectedError, match="AE title"):
            ask(node, site, title=title, shown=shown)
    wait_until(lambda: len(node.events("association rejected")) == 2)
    rejected = node.events("association rejected")[0]
    assert rejected.subject == title
    assert "ae_certificates" in rejected.detail["reason"]


def test_a_bound_ae_title_is_rejected_on_the_port_without_tls(node: Node) -> None:
    plain = DestinationSettings(
        name="node", ae_title="DICOMNODE", host="127.0.0.1", port=node.settings.scp.port
    )
    echo(plain, "ANYBODY")
    with pytest.raises(AssociationRejectedError):
        echo(plain, "BYSAN")


def test_a_certificate_of_a_strange_authority_is_not_let_in(node: Node, site: Site) -> None:
    with pytest.raises(DeliveryError):
        ask(node, site, shown=site.stranger)
    wait_until(lambda: "TLS failed: CERTIFICATE_VERIFY_FAILED" in node.log.read_text())


def test_the_node_tells_why_it_does_not_trust_a_peer(node: Node, site: Site) -> None:
    stranger = DestinationSettings.model_validate(
        {
            "name": "pacs",
            "ae_title": "DICOMNODE",
            "host": "127.0.0.1",
            "port": tls_port(node),
            "tls": {"ca_file": site.stranger.certificate},
        }
    )
    with pytest.raises(DeliveryError, match="its certificate is not trusted: "):
        echo(stranger)
    wrong_name = stranger.model_copy(
        update={
            "tls": stranger.tls.model_copy(
                update={"ca_file": site.authority.certificate, "server_name": "pacs.example"}
            )
        }
    )
    with pytest.raises(DeliveryError, match="is not valid for 'pacs"):
        echo(wrong_name)
    with pytest.raises(DeliveryError, match="TLS failed"):
        ask(node, site, port=node.settings.scp.port)


def handshake(port: int, *options: str) -> str:
    found = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return found.stdout + found.stderr


@needs_openssl
@pytest.mark.parametrize(
    ("options", "is_let_in"),
    [
        (("-tls1_3",), True),
        (("-tls1_2",), True),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"), True),
        (("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), False),
        (("-tls1", "-cipher", "DEFAULT@SECLEVEL=0"), False),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"), False),  # CBC
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"), False),  # not in PS3.15
        (("-tls1_2", "-cipher", "AES256-GCM-SHA384"), False),  # no forward secrecy
    ],
)
def test_only_the_profile_of_ps3_15_is_spoken(
    node: Node, options: tuple[str, ...], is_let_in: bool
) -> None:
    assert ("Server certificate" in handshake(tls_port(node), *options)) == is_let_in


@needs_openssl
def test_a_client_can_not_renegotiate(node: Node) -> None:
    asked = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{tls_port(node)}", "-tls1_2"],
        input="R\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "RENEGOTIATING" in asked.stdout + asked.stderr
    assert "no renegotiation" in asked.stdout + asked.stderr


@pytest.mark.parametrize(
    "said",
    [b"", b"\x16\x03\x01\x02\x00\x01", b"\x01\x00\x00\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["silence", "half a hello", "no TLS", "HTTP"],
)
def test_handshakes_that_do_not_end_keep_nobody_waiting(
    node: Node, site: Site, said: bytes
) -> None:
    threads = Path(f"/proc/{node.process.pid}/task")
    before = len(list(threads.iterdir()))
    with ExitStack() as silent:
        held = []
        for _ in range(40):
            peer = silent.enter_context(socket.socket())
            peer.bind(("127.0.0.2", 0))
            peer.connect(("127.0.0.1", tls_port(node)))
            peer.sendall(said)
            held.append(peer)
        ask(node, site)  # another address, while they are open
        # The cap of an address: a connection has two threads.
        most = node.settings.scp.maximum_associations_per_peer + 8
        assert len(list(threads.iterdir())) - before <= 2 * most + 2
        for peer in held:
            peer.settimeout(30)
            while peer_says(peer):
                pass
    wait_until(lambda: len(list(threads.iterdir())) <= before)


def peer_says(peer: socket.socket) -> bytes:
    try:
        return peer.recv(1000)
    except ConnectionResetError:
        return b""


def test_tls_and_then_silence_is_not_waited_for(node: Node, site: Site) -> None:
    """The whole opening has one deadline, the handshake and the first PDU together."""
    from dicomnode.config_tls import TLSClientSettings
    from dicomnode.tls import client_context

    context = client_context(TLSClientSettings(ca_file=site.authority.certificate), "test")
    with (
        socket.create_connection(("127.0.0.1", tls_port(node)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as peer,
    ):
        began = time.monotonic()
        peer.sendall(b"\x01")
        assert peer_says(peer) == b""
    # The idle time-out of an association, 60 s, is not what ended it.
    assert time.monotonic() - began < node.settings.scp.network_timeout_seconds / 2


@pytest.fixture(scope="module")
def strict_node(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """TLS only, certificates only; the certificate of the node may be renewed."""
    folder = tmp_path_factory.mktemp("strict")
    old = site.authority.issue("old")
    files = {"certificate_file": folder / "node.pem", "key_file": folder / "node.key"}
    shutil.copy(old.certificate, files["certificate_file"])
    shutil.copy(old.key, files["key_file"])
    tls = site.tls(require_client_certificate=True, **files)
    with running(shared_settings(folder, tls=tls), folder / "node") as started:
        yield started


def test_only_tls_and_only_with_a_certificate(strict_node: Node, site: Site) -> None:
    ask(strict_node, site, shown=site.scanner)
    with pytest.raises(DeliveryError):
        ask(strict_node, site)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", strict_node.settings.scp.port), timeout=10)


def test_the_node_knows_its_own_receiver_by_its_certificate(strict_node: Node, site: Site) -> None:
    require_receiver(strict_node.settings)
    assert [finding.ok for finding in checkup.port(strict_node.settings)] == [True]
    tls = strict_node.settings.scp.tls
    assert tls is not None
    stranger = tls.model_copy(update={"certificate_file": site.other.certificate})
    scp = strict_node.settings.scp.model_copy(update={"tls": stranger})
    settings = strict_node.settings.model_copy(update={"scp": scp})
    with pytest.raises(RetrievalError, match="shows its certificate"):
        require_receiver(settings)
    assert [finding.ok for finding in checkup.port(settings)] == [False]


def test_a_renewed_certificate_counts_without_a_restart(
    strict_node: Node, site: Site, tmp_path: Path
) -> None:
    tls, new = strict_node.settings.scp.tls, site.authority.issue("new")
    assert tls is not None
    assert tls.key_file is not None
    ask(strict_node, site, shown=site.scanner, name="old")
    shutil.copy(new.certificate, tmp_path / "next").replace(tls.certificate_file)
    # The key is still that of the old one.
    ask(strict_node, site, shown=site.scanner, name="old")
    shutil.copy(new.key, tmp_path / "next").replace(tls.key_file)
    ask(strict_node, site, shown=site.scanner, name="new")
    with pytest.raises(DeliveryError, match="not valid for 'old'"):
        ask(strict_node, site, shown=site.scanner, name="old")
