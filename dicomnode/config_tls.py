"""TLS: what a listener of the node shows, whom it trusts, and what it wants of those it calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from dicomnode.config_values import AETitle, Port, Section

CertificateName = Annotated[
    str,
    Field(pattern=r"^(sha256:([0-9a-fA-F]{2}:?){32}|(san|cn):\S.*)$"),
]


class TLSServerSettings(Section):
    """A listener's certificate, and whose certificates its clients may, or have to, show."""

    certificate_file: Path
    key_file: Path | None = None
    client_ca_file: Path | None = None
    require_client_certificate: bool = False

    @model_validator(mode="after")
    def _knows_its_clients(self) -> TLSServerSettings:
        if self.require_client_certificate and self.client_ca_file is None:
            raise ValueError("require_client_certificate needs client_ca_file")
        return self


class DicomTLSSettings(TLSServerSettings):
    """`only`: nothing listens without TLS. `ae_certificates`: what each AE title has to show."""

    port: Port = 2762
    only: bool = True
    ae_certificates: dict[AETitle, Annotated[tuple[CertificateName, ...], Field(min_length=1)]] = (
        Field(default_factory=dict)
    )

    @model_validator(mode="after")
    def _certificates_can_be_checked(self) -> DicomTLSSettings:
        if self.ae_certificates and self.client_ca_file is None:
            raise ValueError("ae_certificates needs client_ca_file, which vouches for them")
        return self


class TLSClientSettings(Section):
    """A peer that is called with TLS; its certificate has to be valid for `server_name`."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> TLSClientSettings:
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError("key_file needs certificate_file")
        return self
