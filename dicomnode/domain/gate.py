"""What leaves, and who may say so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeliveryState(StrEnum):
    """The life of one delivery; the last three are ends.

    STORED: the destination took it, and is still to prove that it has kept it.
    """

    PENDING = "pending"
    STORED = "stored"
    DELIVERED = "delivered"
    REFUSED = "refused"
    CANCELLED = "cancelled"


OPEN_DELIVERIES = (DeliveryState.PENDING, DeliveryState.STORED)


class GateOutcome(StrEnum):
    RELEASE = "release"
    HOLD = "hold"
    UNKNOWN_STUDY = "unknown_study"


@dataclass(frozen=True)
class GateDecision:
    """May this study leave? `reasons` names every series that holds it, or why it may go.

    `remarks` decide nothing: what to know of it all the same.
    """

    study_instance_uid: str
    outcome: GateOutcome
    reasons: tuple[str, ...]
    remarks: tuple[str, ...] = ()


class Role(StrEnum):
    """What an account may do; each may do what those before it may."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    STEWARD = "steward"
    ADMINISTRATOR = "administrator"

    def includes(self, other: Role) -> bool:
        return self.rank >= other.rank

    @property
    def rank(self) -> int:
        return list(Role).index(self)
