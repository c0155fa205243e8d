"""`dicomnode check` of secrets, folders and certificates."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dicomnode.app.checkup_security import certificates, permissions, secret_files
from dicomnode.app.tables import findings as findings_table
from dicomnode.config import Settings
from dicomnode.config_tls import TLSServerSettings
from dicomnode.tls import ServerTLS
from tests.certificates import Authority, Pair

MakeSettings = Callable[..., Settings]


def every_secret(folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Settings in which each secret has a file, and those files by the key that names them."""
    files = {
        key: folder / key
        for key in (
            "database.url_file",
            "scp.tls.key_file",
            "web.token_file",
            "web.oidc.client_secret_file",
            "web.tls.certificate_file",
            "deidentification.key_file",
            "destinations.pacs.tls.key_file",
            "sources.archive.token_file",
            "gate.key_file",
            "notifications.email.password_file",
            "notifications.webhook.secret_file",
            "audit_messages.certificate_file",
        )
    }
    for file in files.values():
        file.write_text("secret")
        file.chmod(0o600)
    files["database.url_file"].write_text(f"sqlite:///{folder}/a.sqlite")
    peer = {"ae_title": "PACS", "host": "127.0.0.1", "port": 1}
    public = {"certificate_file": folder / "public.pem"}
    issuer = {"issuer": "https://a.example", "client_id": "a", "roles": {"a": "viewer"}}
    email = {"host": "mail.example", "user": "a", "sender": "a@b.example", "recipients": ["a@b.c"]}
    sections = {
        "database": {"url_file": files["database.url_file"]},
        "scp": {"tls": public | {"key_file": files["scp.tls.key_file"]}},
        "web": {
            "token_file": files["web.token_file"],
            "oidc": issuer | {"client_secret_file": files["web.oidc.client_secret_file"]},
            "tls": {"certificate_file": files["web.tls.certificate_file"]},
        },
        "deidentification": {"key_file": files["deidentification.key_file"]},
        "destinations": [
            peer
            | {
                "name": "pacs",
                "tls": public
                | {"key_file": files["destinations.pacs.tls.key_file"], "ca_file": folder / "ca"},
            }
        ],
        "sources": [
            peer | {"name": "archive", "token_file": files["sources.archive.token_file"]},
        ],
        "gate": {"key_file": files["gate.key_file"]},
        "notifications": {
            "email": email | {"password_file": files["notifications.email.password_file"]},
            "webhook": {
                "url": "https://chat.example/a",
                "secret_file": files["notifications.webhook.secret_file"],
            },
        },
        "audit_messages": {"certificate_file": files["audit_messages.certificate_file"]},
    }
    return sections, files


def test_every_secret_is_looked_at_and_no_public_file(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    sections, files = every_secret(tmp_path)
    settings = make_settings(**sections)
    assert dict(secret_files(settings)) == files
    (finding,) = permissions(settings)
    assert (finding.subject, finding.ok) == ("secrets", True)


@pytest.mark.parametrize(
    ("mode", "is_ok"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False)]
)
def test_a_secret_that_others_can_read_is_told(
    make_settings: MakeSettings, tmp_path: Path, mode: int, is_ok: bool
) -> None:
    token = tmp_path / "token"
    token.write_text("not-to-be-quoted")
    token.chmod(mode)
    (finding,) = permissions(make_settings(web={"token_file": token}))
    assert finding.ok is is_ok
    assert "not-to-be-quoted" not in finding.sentence
    assert is_ok or (finding.subject, "chmod" in finding.sentence) == ("web.token_file", True)


def test_a_secret_that_is_not_there_is_told(make_settings: MakeSettings, tmp_path: Path) -> None:
    (finding,) = permissions(make_settings(web={"token_file": tmp_path / "none"}))
    assert not finding.ok
    assert "No such file" in finding.sentence


@pytest.mark.parametrize(("mode", "problems"), [(0o700, 0), (0o750, 0), (0o755, 1), (0o701, 1)])
def test_a_data_folder_that_others_can_enter_is_told(
    make_settings: MakeSettings, tmp_path: Path, mode: int, problems: int
) -> None:
    settings = make_settings()
    settings.node.data_folder.mkdir()
    settings.node.data_folder.chmod(mode)
    assert len([finding for finding in permissions(settings) if not finding.ok]) == problems


@pytest.mark.parametrize(
    ("lasts", "mark"), [(60, "ok"), (29, "soon"), (1, "soon"), (-1, "PROBLEM")]
)
def test_a_certificate_is_told_thirty_days_before_it_expires(
    make_settings: MakeSettings, tmp_path: Path, lasts: int, mark: str
) -> None:
    pair = Authority(tmp_path).issue("node", lasts=timedelta(days=lasts, hours=1))
    tls = {"certificate_file": pair.certificate, "key_file": pair.key}
    found = tuple(certificates(make_settings(scp={"tls": tls})))
    assert [finding.subject for finding in found] == ["certificate of scp.tls"]
    assert str(next(iter(findings_table(found).columns[0].cells))) == mark


@contextmanager
def peer(pair: Pair) -> Iterator[int]:
    """A server that shakes hands, and says nothing."""
    own = TLSServerSettings(certificate_file=pair.certificate, key_file=pair.key)
    context = ServerTLS(own, "peer").context()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    with context.wrap_socket(connection, server_side=True) as encrypted:
                        encrypted.recv(1)
                except OSError:
                    if listener.fileno() < 0 or stop.is_set():
                        return

        stop = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def test_the_certificates_of_peers_are_asked_for(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    good, old = authority.issue("good"), authority.issue("old", lasts=timedelta(days=-1))
    trusts = {"ca_file": authority.certificate}
    block = {"ae_title": "PACS", "host": "127.0.0.1", "tls": trusts}
    with peer(good) as good_port, peer(old) as old_port:
        web = {"name": "web", "retrieve": "wado", "url": f"https://127.0.0.1:{good_port}/a"}
        settings = make_settings(
            destinations=[
                block | {"name": "good", "port": good_port},
                block | {"name": "old", "port": old_port},
                {"name": "plain", "ae_title": "PACS", "host": "127.0.0.1", "port": good_port},
            ],
            sources=[web | {"tls": trusts}],
        )
        found = {finding.subject: finding for finding in certificates(settings)}
    assert {subject: finding.ok for subject, finding in found.items()} == {
        "certificate of destination good": True,
        "certificate of destination old": False,
        "certificate of source web": True,
    }
    assert "certificate has expired" in found["certificate of destination old"].sentence


def test_a_file_without_a_certificate_is_told(make_settings: MakeSettings, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("node")
    shutil.copy(pair.key, tmp_path / "wrong.pem")
    tls = {"certificate_file": tmp_path / "wrong.pem"}
    (finding,) = certificates(make_settings(scp={"tls": tls}))
    assert not finding.ok
    assert "no certificate" in finding.sentence
