"""How one attempt of a delivery ended, as a small value that the engine keeps in its database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """STORED: sent, and to be proven. UNPROVEN: not shown to be kept yet. LOST: not kept, to be
    sent again. ENDED: there was nothing to do any more."""

    STORED = "stored"
    DELIVERED = "delivered"
    REFUSED = "refused"
    AGAIN = "again"
    UNPROVEN = "unproven"
    LOST = "lost"
    PARKED = "parked"
    ENDED = "ended"


GOES_ON = (Ending.AGAIN, Ending.UNPROVEN, Ending.LOST, Ending.PARKED)


class Contact(StrEnum):
    """What the attempt says of the destination."""

    NONE = ""
    ANSWERED = "answered"
    AWAY = "away"


@dataclass(frozen=True)
class Outcome:
    state: Ending
    sentence: str = ""
    contact: Contact = Contact.NONE
    # How it was sent; empty: in the first way of the configuration. None: it was not sent.
    transfer_syntax: str | None = None


def outcome_of(given: dict[str, Any]) -> Outcome:
    """From JSON; an attempt that an earlier version began says nothing of the destination."""
    contact = Contact(given.get("contact", ""))
    taken = given.get("transfer_syntax")
    return Outcome(Ending(given["state"]), given["sentence"], contact, taken)
