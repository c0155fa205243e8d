"""One try of a delivery: a job of its own that carries its patience with it.

Patience is counted in the pauses that were made, never told from the clock: one that jumps gives
nothing up early and keeps nothing waiting (docs/decisions.md).
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace

from dicomnode.config import DeliverySettings

_DELIVER = "deliver"
# A wait is between these parts of its delay.
_SHORTEST_SHARE, LONGEST_SHARE = 0.75, 1.25


@dataclass(frozen=True)
class Attempt:
    """`generation` tells a person's retry, which begins again with the first number, from what was
    before; only its order counts. `loss_seconds` is the pause after the last loss: it outlives the
    attempts in between, which succeed as far as they go. `waited_seconds` are all pauses so far,
    `unproven_seconds` those since it was sent.
    """

    delivery_id: int
    number: int
    delay_seconds: float
    generation: float
    loss_seconds: float = 0.0
    waited_seconds: float = 0.0
    unproven_seconds: float = 0.0

    @property
    def job_id(self) -> str:
        return f"{_DELIVER}:{self.delivery_id}:{int(self.generation * 1000)}:{self.number}"

    @property
    def wait_seconds(self) -> float:
        """The delay, up to a quarter shorter or longer: those that failed together come back one
        by one. A function of the job, so a step that runs again waits as long."""
        share = hashlib.sha256(self.job_id.encode()).digest()[0] / 255
        return self.delay_seconds * (_SHORTEST_SHARE + (LONGEST_SHARE - _SHORTEST_SHARE) * share)

    def after_sending(self) -> Attempt:
        """At once; from now on it is to be proven."""
        return replace(self, number=self.number + 1, delay_seconds=0.0, unproven_seconds=0.0)

    def next(self, settings: DeliverySettings) -> Attempt:
        """The delay doubles, from the first to the longest."""
        return self._after(_doubled(self.delay_seconds, settings))

    def after_loss(self, settings: DeliverySettings) -> Attempt:
        """The same, with each time that the destination took it and did not keep it."""
        delay = _doubled(max(self.delay_seconds, self.loss_seconds), settings)
        return replace(self._after(delay), loss_seconds=delay, unproven_seconds=0.0)

    def gives_up(self, settings: DeliverySettings) -> bool:
        return self.waited_seconds >= give_up_seconds(settings)

    def _after(self, delay_seconds: float) -> Attempt:
        return replace(
            self,
            number=self.number + 1,
            delay_seconds=delay_seconds,
            waited_seconds=self.waited_seconds + delay_seconds,
            unproven_seconds=self.unproven_seconds + delay_seconds,
        )


def _doubled(seconds: float, settings: DeliverySettings) -> float:
    return min(max(settings.first_retry_seconds, 2 * seconds), settings.longest_retry_seconds)


def give_up_seconds(settings: DeliverySettings) -> float:
    return settings.give_up_after_hours * 3600


def first_attempt(delivery_id: int, after: str = "") -> Attempt:
    """Now, with all the patience that is configured; `after` is the id of an attempt that it comes
    after, whatever the clock says."""
    earlier_ms = attempt_order(after)[1] if after else 0
    generation = max(time.time(), (earlier_ms + 1.5) / 1000)
    return Attempt(delivery_id, 1, 0.0, generation)


def attempt_order(job_id: str) -> tuple[int, int, int]:
    """Delivery, generation in milliseconds, number; the newest of a delivery is the largest."""
    _, delivery_id, generation_ms, number = job_id.split(":")
    return int(delivery_id), int(generation_ms), int(number)
