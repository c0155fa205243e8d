"""What the node has done and what stands where, as numbers for a monitor.

Counted in the database, so that they are those of all processes and outlive each of them. Codes
and states only: no UID, no name of a peer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from dicomnode.domain import DeliveryState, WantedDigest
from dicomnode.tracking import outdated, refusals
from dicomnode.tracking.schema import associations, deliveries, quarantine, studies, verdicts
from dicomnode.tracking.study_summaries import COUNTED_STATES


@dataclass(frozen=True)
class Total:
    """One number for each value of `label`; an empty label stands for a single number.

    A name that ends in `_total` only grows.
    """

    name: str
    help: str
    label: str
    counts: Mapping[str, int]


def totals(c: sa.Connection) -> tuple[Total, ...]:
    stored = c.scalar(sa.select(sa.func.coalesce(sa.func.sum(studies.c.instance_count), 0)))
    still_open = sa.select(sa.func.count()).where(associations.c.closed_at.is_(None))
    verdicts_now = _by(c, verdicts.c.kind, verdicts.c.is_current)
    return (
        Total("instances_stored_total", "Objects durably stored.", "", {"": int(stored or 0)}),
        Total(
            "objects_quarantined_total",
            "Objects that were not accepted, by reason.",
            "reason",
            _by(c, quarantine.c.reason),
        ),
        Total(
            "refusals_total",
            "Images of which no volume was made, by refusal code.",
            "code",
            refusals.counts(c),
        ),
        Total("series", "Series by what they wait for.", "state", _series(c)),
        Total("verdicts", "Current verdicts by kind.", "kind", verdicts_now),
        Total("deliveries", "Deliveries by state.", "state", _deliveries(c)),
        Total("associations_open", "Associations open now.", "", {"": c.scalar(still_open) or 0}),
    )


def _deliveries(c: sa.Connection) -> Mapping[str, int]:
    """Of each state: an alert can't see the first of one that was not told before."""
    return {state.value: 0 for state in DeliveryState} | dict(_by(c, deliveries.c.state))


def outdated_total(c: sa.Connection, wanted: WantedDigest) -> Total:
    help_ = "Series that another version examined, for dicomnode reexamine."
    return Total("series_outdated", help_, "", {"": outdated.count(c, wanted)})


def _by(
    c: sa.Connection, column: sa.Column[str], condition: sa.ColumnElement[bool] | None = None
) -> dict[str, int]:
    query = sa.select(column, sa.func.count()).group_by(column)
    return _counts(c, query if condition is None else query.where(condition))


def _series(c: sa.Connection) -> dict[str, int]:
    """As `findings` says it for each of them, told by the summaries of the studies."""
    columns = [sa.func.sum(studies.c[state.value]).label(state.value) for state in COUNTED_STATES]
    found = c.execute(sa.select(*columns)).mappings().one()
    return {state: int(count) for state, count in found.items() if count}


def _counts(c: sa.Connection, query: sa.Select[str, int]) -> dict[str, int]:
    return dict(c.execute(query).tuples().all())
