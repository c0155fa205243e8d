"""The gate's DICOM door: an Application Entity that forwards to archives what may leave."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from dicomnode.config_policy import ProjectName
from dicomnode.config_tls import DicomTLSSettings
from dicomnode.config_values import AETitle, Port, Section


class GateTitleSettings(Section):
    """Who calls this AE title lets out for this project, to this archive."""

    ae_title: AETitle
    project: ProjectName
    archive: Annotated[str, Field(min_length=1)]


class GateAESettings(Section):
    """The gate's DICOM door; its limits and time-outs are those of `[scp]`."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 11113
    allowed_calling_ae_titles: tuple[AETitle, ...] = ()
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    maximum_answers: PositiveInt = 1000
    maximum_studies: PositiveInt = 10_000
    look_again_seconds: PositiveFloat = 60.0
    titles: tuple[GateTitleSettings, ...] = ()
    tls: DicomTLSSettings | None = None


def check_titles(
    gate_ae: GateAESettings, projects: Collection[str], archives: Collection[str]
) -> None:
    """Raises `ValueError` where a title leads nowhere, or two ways, or there is none."""
    for key in ("ae_title", "project"):
        values = [getattr(title, key) for title in gate_ae.titles]
        if len(set(values)) != len(values):
            raise ValueError(f"two of gate_ae.titles have the same {key}")
    for title in gate_ae.titles:
        if title.project not in projects:
            raise ValueError(f"gate_ae.titles: there is no project {title.project!r}")
        if title.archive not in archives:
            raise ValueError(f"gate_ae.titles: no [[archives]] block is named {title.archive!r}")
    if gate_ae.enabled and not gate_ae.titles:
        raise ValueError("gate_ae.enabled: needs a [[gate_ae.titles]] block")
