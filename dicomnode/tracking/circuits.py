"""The circuit of each destination, shared by all workers: while it is open, nothing is sent there.

It opens after some attempts in a row that the destination did not answer. Then one worker at a
time asks by C-ECHO, once in each pause; where that is answered one delivery goes on trial, and
when the destination has answered it, well or not, the circuit closes and all others follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from dicomnode.config import DeliverySettings
from dicomnode.domain import OPEN_DELIVERIES
from dicomnode.tracking.database import insert_missing
from dicomnode.tracking.schema import deliveries, destinations


@dataclass(frozen=True)
class Circuit:
    """Open since `opened_at`, closed where there is none.

    Nobody asks the destination before `probe_at`; whoever is about to ask moves that on.
    """

    failures: int = 0
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    trial_delivery_id: int | None = None
    last_error: str = ""

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def lets_pass(self, delivery_id: int) -> bool:
        return not self.is_open or self.trial_delivery_id == delivery_id

    def is_due(self, now: datetime, settings: DeliverySettings) -> bool:
        """A time that is further away than a pause is of before the clock was set back."""
        if self.probe_at is None:
            return False
        return not now < self.probe_at <= now + _pause(settings)

    def failed(
        self, delivery_id: int, error: str, now: datetime, settings: DeliverySettings
    ) -> Circuit:
        """An attempt was not answered; one that had begun before the circuit opened says nothing
        that isn't known."""
        if not self.lets_pass(delivery_id):
            return self
        failures = self.failures + 1
        if not self.is_open and failures < settings.circuit_failures:
            return Circuit(failures, last_error=error)
        return Circuit(failures, self.opened_at or now, now + _pause(settings), None, error)

    def probing(self, now: datetime, settings: DeliverySettings) -> Circuit:
        """Somebody asks the destination, and then lets a delivery go on trial."""
        return replace(self, probe_at=now + _pause(settings), trial_delivery_id=None)


CLOSED = Circuit()
_OPEN = [state.value for state in OPEN_DELIVERIES]


def of_delivery(c: sa.Connection, delivery_id: int) -> Circuit:
    """That of the destination of a delivery that has not ended; of any other a closed one."""
    query = (
        _select()
        .join(deliveries, deliveries.c.destination == destinations.c.name)
        .where(deliveries.c.id == delivery_id, deliveries.c.state.in_(_OPEN))
    )
    row = c.execute(query).one_or_none()
    return CLOSED if row is None else _circuit(row)


def open_ones(c: sa.Connection) -> Mapping[str, Circuit]:
    """By the name of the destination."""
    rows = c.execute(_select().where(destinations.c.opened_at.is_not(None))).all()
    return {row.name: _circuit(row) for row in rows}


def note_failure(
    c: sa.Connection,
    destination: str,
    delivery_id: int,
    error: str,
    settings: DeliverySettings,
    now: datetime,
) -> bool:
    """An attempt was not answered; whether the circuit opened by it."""
    insert_missing(c, destinations, [{"name": destination}])
    before = _locked(c, destination)
    after = before.failed(delivery_id, error, now, settings)
    _save(c, destination, after)
    return after.is_open and not before.is_open


def note_answer(c: sa.Connection, destination: str) -> bool:
    """The destination answered, so it is there; whether a circuit closed by it."""
    before = _locked(c, destination)
    if before == CLOSED:
        return False
    _save(c, destination, CLOSED)
    return before.is_open


def claim_probe(
    c: sa.Connection, destination: str, settings: DeliverySettings, now: datetime
) -> bool:
    """Whether the caller is the one who asks now; nobody else will before the next pause ends.

    Each pause is counted for those that wait: whatever the clock says, so many have passed.
    """
    circuit = _locked(c, destination)
    if not circuit.is_due(now, settings):
        return False
    _save(c, destination, circuit.probing(now, settings))
    d = destinations.c
    waited = {"waited_seconds": d.waited_seconds + settings.probe_seconds}
    c.execute(destinations.update().where(d.name == destination).values(waited))
    return True


def probe_soon(c: sa.Connection, destination: str, now: datetime) -> None:
    """A person wants it tried: it is asked at once."""
    circuit = _locked(c, destination)
    if circuit.is_open:
        _save(c, destination, replace(circuit, probe_at=now))


def set_trial(c: sa.Connection, destination: str, delivery_id: int) -> None:
    """This one may go although the circuit is open."""
    circuit = _locked(c, destination)
    if circuit.is_open:
        _save(c, destination, replace(circuit, trial_delivery_id=delivery_id))


def _pause(settings: DeliverySettings) -> timedelta:
    return timedelta(seconds=settings.probe_seconds)


_COLUMNS: Sequence[sa.Column[object]] = (
    destinations.c.failures,
    destinations.c.opened_at,
    destinations.c.probe_at,
    destinations.c.trial_delivery_id,
    destinations.c.last_error,
)


def _select() -> sa.Select[tuple[object, ...]]:
    return sa.select(destinations.c.name, *_COLUMNS)


def _locked(c: sa.Connection, destination: str) -> Circuit:
    query = _select().where(destinations.c.name == destination).with_for_update()
    row = c.execute(query).one_or_none()
    return CLOSED if row is None else _circuit(row)


def _circuit(row: sa.Row[tuple[object, ...]]) -> Circuit:
    return Circuit(**{column.name: getattr(row, column.name) for column in _COLUMNS})


def _save(c: sa.Connection, destination: str, circuit: Circuit) -> None:
    values = {column.name: getattr(circuit, column.name) for column in _COLUMNS}
    c.execute(destinations.update().where(destinations.c.name == destination).values(values))
