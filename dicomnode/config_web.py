"""`[web]`: the HTTP role, who may use it, and how people log in."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dicomnode.config_tls import TLSServerSettings
from dicomnode.config_values import Port, Section, is_http_url, is_loopback
from dicomnode.domain import Role


class OidcSettings(Section):
    """Log in at the site's OpenID provider. `roles`: the role of each group, the highest counts."""

    issuer: str
    client_id: Annotated[str, Field(min_length=1)]
    client_secret_file: Path
    roles_claim: Annotated[str, Field(min_length=1)] = "groups"
    roles: Annotated[dict[str, Role], Field(min_length=1)]
    timeout_seconds: PositiveFloat = 10.0

    @model_validator(mode="after")
    def _has_an_address(self) -> OidcSettings:
        if not is_http_url(self.issuer):
            raise ValueError("issuer has to be the https address of the OpenID provider")
        if self.issuer.startswith("http://") and not is_loopback(_host_of(self.issuer)):
            raise ValueError("issuer has to begin with https://")
        return self


class WebSettings(Section):
    """The HTTP role: STOW-RS in, metrics, and where `desk` is set the review desk and the gate."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 8080
    token_file: Path | None = None
    maximum_request_bytes: PositiveInt = 4_294_967_296
    desk: bool = False
    public_url: str = ""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    login_idle_minutes: PositiveFloat = 30.0
    login_longest_hours: PositiveFloat = 12.0
    logins_per_minute: PositiveInt = 10
    api_requests_per_minute: PositiveInt = 600
    oidc: OidcSettings | None = None
    tls: TLSServerSettings | None = None

    @model_validator(mode="after")
    def _has_a_public_address(self) -> WebSettings:
        url = self.public_url
        if url and (not is_http_url(url) or url.rstrip("/").count("/") > 2):
            raise ValueError("public_url is what browsers call: https://HOST, without a path")
        if url.startswith("http://") and not is_loopback(_host_of(url)):
            raise ValueError("public_url has to begin with https://: passwords pass there")
        if url.startswith("http://") and self.tls is not None:
            raise ValueError("public_url has to begin with https://, since there is [web.tls]")
        if self.desk and not url and not is_loopback(self.host):
            raise ValueError("a desk that other machines reach needs public_url, and TLS before it")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> WebSettings:
        if self.token_file is not None:
            return self
        if not is_loopback(self.host):
            raise ValueError("a host that other machines reach needs token_file")
        # What a proxy passes on comes from loopback, whoever sent it.
        if self.public_url or self.trusted_proxies:
            raise ValueError(
                "public_url and trusted_proxies need token_file: behind a proxy other machines "
                "reach /dicom-web and /metrics, which nothing else closes"
            )
        return self

    @property
    def origin(self) -> str:
        """What browsers name as the origin of the desk's pages; empty: any loopback name."""
        return self.public_url.rstrip("/").lower()

    @property
    def is_https(self) -> bool:
        return self.tls is not None or self.origin.startswith("https://")

    @property
    def scheme(self) -> str:
        """What this role itself speaks, whatever a proxy speaks before it."""
        return "http" if self.tls is None else "https"

    @property
    def login_idle(self) -> timedelta:
        return timedelta(minutes=self.login_idle_minutes)

    @property
    def login_longest(self) -> timedelta:
        return timedelta(hours=self.login_longest_hours)


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
