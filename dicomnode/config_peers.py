"""`[[sources]]`, `[pull]`, `[[destinations]]` and `[delivery]`: other Application Entities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dicomnode.config_tls import TLSClientSettings
from dicomnode.config_values import AETitle, Port, Section, is_http_url


class SourceSettings(Section):
    """A PACS that is asked for studies, and how many instances a series has."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    retrieve: Literal["move", "get", "wado"] = "move"
    ae_title: AETitle | None = None
    host: str = "127.0.0.1"
    port: Port = 104
    calling_ae_title: AETitle | None = None
    url: str = ""
    token_file: Path | None = None
    timeout_seconds: PositiveFloat = 30.0
    tls: TLSClientSettings | None = None

    @model_validator(mode="after")
    def _has_an_address(self) -> SourceSettings:
        if self.retrieve == "wado" and not is_http_url(self.url):
            raise ValueError("url has to be the http(s) address of the DICOMweb service")
        if self.retrieve != "wado" and self.ae_title is None:
            raise ValueError(f'ae_title is needed for retrieve = "{self.retrieve}"')
        if self.retrieve == "wado" and self.tls is not None and self.tls.server_name:
            raise ValueError("tls.server_name: for wado the name stands in url")
        return self


class PullSettings(Section):
    """How studies are fetched from a source."""

    studies_per_minute: PositiveFloat = 10.0
    study_timeout_seconds: PositiveFloat = 3600.0
    attempts: PositiveInt = 3


# How a destination shows that it has kept an object.
Proof = Literal["none", "find", "commitment"]


TransferSyntax = Literal["explicit", "implicit", "deflated"]


class DestinationSettings(Section):
    """A peer that is sent every SEG, or, of `[[archives]]`, what leaves."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    ae_title: AETitle
    host: str
    port: Port
    calling_ae_title: AETitle | None = None
    timeout_seconds: PositiveFloat = 30.0
    tls: TLSClientSettings | None = None
    transfer_syntaxes: Annotated[tuple[TransferSyntax, ...], Field(min_length=1)] = (
        "explicit",
        "implicit",
    )
    proof: Proof = "none"


class DeliverySettings(Section):
    """Retries, and whether the sender of a series gets its SEG back."""

    first_retry_seconds: PositiveFloat = 15.0
    longest_retry_seconds: PositiveFloat = 900.0
    give_up_after_hours: PositiveFloat = 96.0
    circuit_failures: PositiveInt = 3
    probe_seconds: PositiveFloat = 60.0
    prove_within_seconds: PositiveFloat = 3600.0
    return_to_sender: bool = False
    return_port: Port = 104
