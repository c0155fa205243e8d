"""A message arrives as it was meant, at a real mail server and a real HTTP server, or fails."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dicomnode.config_notices import EmailSettings, WebhookSettings
from dicomnode.errors import ConfigurationError, NoticeError
from dicomnode.notices.mail import Mail
from dicomnode.notices.message import Message
from dicomnode.notices.webhook import SIGNATURE_HEADER, Webhook
from tests.certificates import self_signed
from tests.mail_server import mail_server

MESSAGE = Message("dicomnode NODE: 3 series wait", "3 series wait\n", {"waiting": {"failed": 3}})


def email(port: int, **changes: Any) -> EmailSettings:
    given = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "node@example.org",
        "recipients": ("anna@example.org", "bob@example.org"),
        "timeout_seconds": 5.0,
    }
    return EmailSettings.model_validate(given | changes)


def test_a_mail_reaches_every_recipient() -> None:
    with mail_server() as mailbox:
        Mail(email(mailbox.port)).send(MESSAGE)
    (mail,) = map(message_from_string, mailbox.mails)
    assert mail["Subject"] == MESSAGE.title
    assert str(mail.get_payload()).strip() == "3 series wait"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mailbox.recipients == ["anna@example.org", "bob@example.org"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_password_goes_over_tls_only(tmp_path: Path, security: str) -> None:
    certificate = self_signed(tmp_path)
    (tmp_path / "password").write_text("s3cret\n")
    with mail_server(certificate, at_once=security == "tls") as mailbox:
        given = email(
            mailbox.port,
            security=security,
            ca_file=certificate,
            user="node",
            password_file=tmp_path / "password",
        )
        Mail(given).send(MESSAGE)
        assert "answers" in Mail(given).probe()
    assert mailbox.encrypted == [True]
    assert mailbox.logins == [("node", "s3cret")] * 2


def test_a_server_that_nobody_vouches_for_gets_no_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    with mail_server(self_signed(tmp_path)) as mailbox:
        given = email(
            mailbox.port, security="starttls", user="node", password_file=tmp_path / "password"
        )
        with pytest.raises(NoticeError, match="mail server 127"):
            Mail(given).send(MESSAGE)
    assert not mailbox.logins
    assert not mailbox.mails


def test_a_server_without_starttls_gets_nothing() -> None:
    with mail_server() as mailbox:
        with pytest.raises(NoticeError):
            Mail(email(mailbox.port, security="starttls")).send(MESSAGE)
        assert not mailbox.mails


def test_a_refusal_is_told_without_what_the_server_says() -> None:
    with mail_server() as mailbox:
        mailbox.refuses = True
        with pytest.raises(NoticeError, match="451") as error:
            Mail(email(mailbox.port)).send(MESSAGE)
    assert "Doe" not in str(error.value)


def test_a_server_that_is_away_is_told(free_port: int) -> None:
    with pytest.raises(NoticeError, match=f"127.0.0.1:{free_port}"):
        Mail(email(free_port)).send(MESSAGE)
    with pytest.raises(NoticeError):
        Webhook(WebhookSettings(url=f"http://127.0.0.1:{free_port}/hook")).send(MESSAGE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "node@example.org\nBcc: eve@example.org"},
        {"recipients": ()},
        {"user": "node"},
        {"host": "mail.example.org", "user": "node", "password_file": "file"},
    ],
)
def test_settings_that_could_leak_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        email(25, **wrong)


@dataclass
class Hook:
    port: int = 0
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def hook(status: int = 200) -> Iterator[Hook]:
    found = Hook(status=status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            found.headers.append(dict(self.headers))
            self.send_response(found.status)
            self.send_header("Location", f"http://127.0.0.1:{found.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_gets_signed_json(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key\n")
    with hook() as found:
        url = f"http://127.0.0.1:{found.port}/hook"
        Webhook(WebhookSettings(url=url, secret_file=tmp_path / "secret")).send(MESSAGE)
        assert "answers" in Webhook(WebhookSettings(url=url)).probe()
    (body,) = found.bodies
    assert json.loads(body) == MESSAGE.values
    signature = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert found.headers[0][SIGNATURE_HEADER] == f"sha256={signature}"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_every_answer_but_success_is_a_failure_and_no_redirection_is_followed(status: int) -> None:
    with hook(status) as found:
        with pytest.raises(NoticeError, match=str(status)):
            Webhook(WebhookSettings(url=f"http://127.0.0.1:{found.port}/hook")).send(MESSAGE)
        assert len(found.bodies) == 1


def test_an_address_with_a_password_is_refused() -> None:
    for url in ("ftp://host/x", "http://user:word@host/", "https://"):
        with pytest.raises(ValidationError):
            WebhookSettings(url=url)


def test_an_address_that_is_a_secret_is_read_from_its_file_and_never_told(tmp_path: Path) -> None:
    file = tmp_path / "url"
    channel = Webhook(WebhookSettings(url_file=file))
    with hook(404) as found:
        file.write_text(f"http://127.0.0.1:{found.port}/s3cret?token=s3cret\n")
        with pytest.raises(NoticeError, match=f"webhook at 127.0.0.1:{found.port} ans") as raised:
            channel.send(MESSAGE)
    assert len(found.bodies) == 1
    for wrong in ("s3cret", "http://s3cret@host/", "ftp://host/s3cret"):
        file.write_text(wrong)
        with pytest.raises(ConfigurationError, match=r"webhook\.url_file") as raised_too:
            channel.send(MESSAGE)
        assert "s3cret" not in f"{raised.value} {raised_too.value}"


@pytest.mark.parametrize("given", [{}, {"url": "http://host/x", "url_file": Path("file")}])
def test_there_is_one_address(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="url or url_file"):
        WebhookSettings(**given)
