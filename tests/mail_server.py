"""A mail server that keeps what it gets: as much of SMTP (RFC 5321) as a client needs."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Mailbox:
    """What came, in order; `refuses` answers MAIL with 451 while it is set."""

    port: int = 0
    mails: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refuses: bool = False


@contextmanager
def mail_server(certificate: Path | None = None, at_once: bool = False) -> Iterator[Mailbox]:
    """With a certificate it offers STARTTLS, or speaks TLS `at_once`."""
    mailbox = Mailbox()
    trust = None
    if certificate is not None:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(certificate)

    class Session(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.encrypted = False
            try:
                if trust and at_once:
                    self._encrypt()
                else:
                    self.file = self.request.makefile("rwb")
                self._say("220 here")
                while line := self.file.readline().decode().rstrip("\r\n"):
                    if self._answer(line):
                        return
            except (OSError, ssl.SSLError):
                return

        def _encrypt(self) -> None:
            assert trust is not None
            self.request = trust.wrap_socket(self.request, server_side=True)
            self.file = self.request.makefile("rwb")
            self.encrypted = True

        def _say(self, *lines: str) -> None:
            self.file.write("".join(f"{line}\r\n" for line in lines).encode())
            self.file.flush()

        def _answer(self, line: str) -> bool:
            word = line.split(" ")[0].upper()
            if word == "EHLO":
                tls = ["250-STARTTLS"] if trust and not self.encrypted else []
                self._say("250-here", *tls, "250 AUTH PLAIN")
            elif word == "STARTTLS":
                self._say("220 go on")
                self._encrypt()
            elif word == "AUTH":
                _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                mailbox.logins.append((user, password))
                self._say("235 welcome")
            elif word == "MAIL" and mailbox.refuses:
                self._say("451 not now, and Doe^Jane is quoted here")
            elif word == "RCPT":
                mailbox.recipients.append(line.split(":", 1)[1].strip("<>"))
                self._say("250 yes")
            elif word == "DATA":
                self._say("354 go on")
                self._take()
                self._say("250 kept")
            elif word == "QUIT":
                self._say("221 bye")
                return True
            else:
                self._say("250 yes")
            return False

        def _take(self) -> None:
            lines = []
            while (line := self.file.readline().decode().rstrip("\r\n")) != ".":
                lines.append(line)
            mailbox.mails.append("\n".join(lines))
            mailbox.encrypted.append(self.encrypted)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        mailbox.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield mailbox
        finally:
            server.shutdown()
