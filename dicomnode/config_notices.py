"""Who is told what: people, by `[notifications]`, and the site's collector of audit messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from dicomnode.config_values import Port, Section, is_http_url, is_loopback
from dicomnode.domain import VerdictKind

Address = Annotated[str, Field(pattern=r"^[^\s@<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,190}$")]


class EmailSettings(Section):
    """A mail server, and who gets the messages."""

    host: str
    port: Port = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Path | None = None
    user: str = ""
    password_file: Path | None = None
    sender: Address
    recipients: Annotated[tuple[Address, ...], Field(min_length=1)]
    timeout_seconds: PositiveFloat = 30.0

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> EmailSettings:
        if self.security == "none" and self.user and not is_loopback(self.host):
            raise ValueError('a user\'s password goes over the network only with "starttls", "tls"')
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file need each other")
        return self


class WebhookSettings(Section):
    """An address that gets a POST of JSON, signed where there is a secret. One that is a secret
    itself, as those of chats are, stands in a file of its own."""

    url: str = ""
    url_file: Path | None = None
    secret_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: PositiveFloat = 10.0

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: str) -> str:
        if url and not is_http_url(url):
            raise ValueError("has to be an http(s) address without a password or a query")
        return url

    @model_validator(mode="after")
    def _one_of_them(self) -> WebhookSettings:
        if bool(self.url) == (self.url_file is not None):
            raise ValueError("needs url or url_file, and not both")
        return self


class NotificationSettings(Section):
    """What people are told of, and how long it may wait to be told with the rest."""

    digest_hours: Annotated[float, Field(ge=0)] = 4.0
    verdicts: tuple[VerdictKind, ...] = (VerdictKind.UNDETERMINED, VerdictKind.FACE_VISIBLE)
    study_uids: bool = False
    link: str = ""
    poll_seconds: PositiveFloat = 60.0
    email: EmailSettings | None = None
    webhook: WebhookSettings | None = None

    @field_validator("link")
    @classmethod
    def _is_an_address(cls, link: str) -> str:
        if link and not is_http_url(link):
            raise ValueError("has to be the http(s) address of the review desk")
        return link


class AuditMessageSettings(Section):
    """The collector that gets the audit log as DICOM audit messages; without a host none does."""

    host: str = ""
    port: Port = 6514
    protocol: Literal["tls", "tcp", "udp"] = "tls"
    ca_file: Path | None = None
    certificate_file: Path | None = None
    site: str = ""
    timeout_seconds: PositiveFloat = 10.0
    poll_seconds: PositiveFloat = 5.0
