"""Where the SEG of a series goes: the fixed destinations and, where configured, its sender."""

from __future__ import annotations

import logging

from dicomnode.config import DestinationSettings, Settings
from dicomnode.domain import Revision
from dicomnode.errors import DeliveryRefusedError

log = logging.getLogger("dicomnode.delivery")

SENDER = "sender:"  # no configured name can hold a colon


def destination_names(revision: Revision, settings: Settings) -> tuple[str, ...]:
    """The names of everyone who gets the SEG, in the order of the configuration."""
    names = [item.name for item in settings.destinations]
    if settings.delivery.return_to_sender:
        if revision.calling_ae_title and revision.peer_address:
            names.append(f"{SENDER}{revision.calling_ae_title}@{revision.peer_address}")
        else:
            log.warning("no known sender", extra={"series": revision.series_instance_uid})
    return tuple(names)


def resolve(name: str, settings: Settings) -> DestinationSettings:
    """The destination as it is configured now: a moved PACS is found at its new address.

    Raises `DeliveryRefusedError` when the name is no longer configured.
    """
    if name.startswith(SENDER):
        return _sender(name, settings)
    for destination in settings.destinations:
        if destination.name == name:
            return destination
    raise DeliveryRefusedError(
        f"destination {name} is no longer in the configuration; "
        "add it again and retry this job, or cancel the job"
    )


def _sender(name: str, settings: Settings) -> DestinationSettings:
    """The Application Entity that sent the series: its AE title and address, our return port."""
    ae_title, _, host = name.removeprefix(SENDER).rpartition("@")
    # model_construct, because this name is on purpose one that no file can hold.
    return DestinationSettings.model_construct(
        name=name, ae_title=ae_title, host=host, port=settings.delivery.return_port
    )
