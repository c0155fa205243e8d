"""HTTPS by the node itself: STOW-RS and review desk, and handshakes that never end."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from dicomnode.app import checkup
from dicomnode.config_tls import TLSClientSettings
from dicomnode.domain import Role
from dicomnode.tls import client_context
from tests.certificates import Authority, Pair
from tests.factories import make_series
from tests.integration.scp.receiving import Node
from tests.integration.web.desk import desk_settings, log_in, make_account, running_desk
from tests.integration.web.stow import RELATED, multipart

MOST_PER_PEER = 4


class Site:
    """The node, which may renew its certificate, and a client that trusts its authority."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.files = Pair(folder / "node.pem", folder / "node.key")
        self.show("first")
        web = {
            "enabled": True,
            "tls": {
                "certificate_file": self.files.certificate,
                "key_file": self.files.key,
                "client_ca_file": self.authority.certificate,
            },
        }
        scp = {"acse_timeout_seconds": 3.0, "maximum_associations_per_peer": MOST_PER_PEER}
        settings = desk_settings(folder, web=web)
        limits = settings.scp.model_copy(update=scp)
        self.settings = settings.model_copy(update={"scp": limits})

    def show(self, name: str) -> None:
        pair = self.authority.issue(name)
        shutil.copy(pair.certificate, self.files.certificate)
        shutil.copy(pair.key, self.files.key)

    def client(self, shown: Pair | None = None) -> httpx.Client:
        ours = (shown.certificate, shown.key) if shown else (None, None)
        tls = TLSClientSettings(
            ca_file=self.authority.certificate, certificate_file=ours[0], key_file=ours[1]
        )
        base = f"https://127.0.0.1:{self.settings.web.port}"
        trusted = client_context(tls, "test")
        return httpx.Client(base_url=base, headers={"Origin": base}, verify=trusted, timeout=30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("https"))


@pytest.fixture(scope="module")
def node(site: Site) -> Iterator[Node]:
    make_account(site.settings, "anna", Role.STEWARD)
    with running_desk(site.settings, Path(site.settings.node.data_folder).parent) as started:
        yield started


def test_objects_are_stored_over_tls(node: Node, site: Site, tmp_path: Path) -> None:
    (image,) = make_series(tmp_path / "made", slices=1)
    body, headers = multipart([image.read_bytes()]), {"Content-Type": RELATED}
    with site.client(shown=site.authority.issue("scanner")) as client:
        answer = client.post("/dicom-web/studies", content=body, headers=headers)
    assert answer.status_code == 200
    assert len(node.objects()) == 1


def test_logins_are_for_tls_only(node: Node, site: Site) -> None:
    with site.client() as client:
        answer = log_in(client, "anna")
        assert answer.status_code == 303
        assert "Secure" in answer.headers["set-cookie"]
        assert "__Host-dicomnode=" in answer.headers["set-cookie"]
        page = client.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert "max-age=" in page.headers["strict-transport-security"]


def test_nothing_is_answered_without_tls(node: Node) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{node.settings.web.port}/health", timeout=30)


def test_a_certificate_of_a_stranger_is_not_let_in(node: Node, site: Site, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").issue("program")
    with site.client(shown=stranger) as client, pytest.raises(httpx.HTTPError):
        client.get("/health")


def test_an_old_tls_is_not_spoken(node: Node) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", node.settings.web.port), timeout=30) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(plain)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silence", "half"])
def test_handshakes_that_do_not_end_shut_nobody_out(node: Node, site: Site, said: bytes) -> None:
    with ExitStack() as held:
        silent = []
        for _ in range(100):
            peer = held.enter_context(socket.socket())
            peer.bind(("127.0.0.2", 0))
            peer.settimeout(30)
            peer.connect(("127.0.0.1", node.settings.web.port))
            with suppress(ConnectionError):
                peer.sendall(said)
            silent.append(peer)
        with site.client() as client:
            assert client.get("/health").status_code == 200
        open_files = len(list(Path(f"/proc/{node.process.pid}/fd").iterdir()))
        for peer in silent:  # all of them end, the last ones by their deadline
            with suppress(ConnectionError):
                assert peer.recv(1000) == b""
    assert open_files < 60


def test_a_renewed_certificate_counts_and_check_knows_it(node: Node, site: Site) -> None:
    assert [finding.ok for finding in checkup.web(site.settings)] == [True]
    site.show("second")
    shown = ssl.get_server_certificate(("127.0.0.1", site.settings.web.port), timeout=30)
    assert shown.split() == site.files.certificate.read_text().split()
    assert [finding.ok for finding in checkup.web(site.settings)] == [True]
