"""Notices by e-mail (SMTP, RFC 5321), over TLS unless the configuration says otherwise."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from dicomnode.config import secret_in
from dicomnode.config_notices import EmailSettings
from dicomnode.errors import NoticeError
from dicomnode.notices.message import Message


class Mail:
    name = "email"

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings

    def send(self, message: Message) -> None:
        """Raises `NoticeError` where any recipient was refused, or nobody could be asked."""
        given = self._settings
        mail = EmailMessage()
        mail["From"], mail["To"] = given.sender, ", ".join(given.recipients)
        mail["Subject"], mail["Date"] = message.title, format_datetime(datetime.now(UTC))
        mail["Message-ID"] = make_msgid(domain=given.sender.partition("@")[2])
        mail.set_content(message.text)
        with self._server() as server:
            if refused := server.send_message(mail):
                raise NoticeError(f"{self._where}: {len(refused)} recipients were refused")

    def probe(self) -> str:
        """Log in and out again; raises `NoticeError`."""
        with self._server() as server:
            server.noop()
        return f"{self._where} answers"

    @property
    def _where(self) -> str:
        return f"mail server {self._settings.host}:{self._settings.port}"

    @contextmanager
    def _server(self) -> Iterator[smtplib.SMTP]:
        given = self._settings
        try:
            trust = ssl.create_default_context(cafile=given.ca_file)
            if given.security == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    given.host, given.port, timeout=given.timeout_seconds, context=trust
                )
            else:
                server = smtplib.SMTP(given.host, given.port, timeout=given.timeout_seconds)
            with server:
                if given.security == "starttls":
                    server.starttls(context=trust)
                if given.password_file is not None:
                    server.login(given.user, secret_in(given.password_file, "password_file"))
                yield server
        except (smtplib.SMTPException, OSError) as error:
            reason = _reason(error)
            raise NoticeError(f"{self._where}: {reason}") from error


def _reason(error: smtplib.SMTPException | OSError) -> str:
    """Without what the server says: it may quote what was sent."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPException):
        return type(error).__name__
    return error.strerror or type(error).__name__
