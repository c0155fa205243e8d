"""What people are asked for, by the policies of all projects together: the most careful counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dicomnode.config import Settings
from dicomnode.config_policy import DEFAULT_PROJECT, DOUBTFUL, Demand
from dicomnode.domain import RefusalCode, VerdictKind
from dicomnode.gate.policy import Policy, policy_of
from dicomnode.gate.series_rules import asks_for_a_person
from dicomnode.tracking import kinds
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesFinding
from dicomnode.tracking.reviews import ReviewFilter


def policies(settings: Settings) -> tuple[Policy, ...]:
    """Of every project."""
    return tuple(
        policy_of(settings, name) for name in (DEFAULT_PROJECT, *sorted(settings.projects))
    )


def asks_by_verdict(settings: Settings) -> bool:
    """Whether any project wants a person for a verdict or for a code."""
    return any(_asks_by_verdict(policy) for policy in policies(settings))


def review_filter(settings: Settings) -> ReviewFilter:
    """What waits for a person.

    Where no project wants one for a verdict, doubtful ones wait all the same: they hold their
    studies, and somebody should look at them.
    """
    every = policies(settings)
    verdicts = {kind for policy in every for kind in policy.rules.review_verdicts}
    codes = {code for policy in every for code in policy.rules.review_refusals}
    if not verdicts and not codes:
        verdicts = set(DOUBTFUL)
    return ReviewFilter(
        kinds=tuple(kind for kind in VerdictKind if kind in verdicts),
        codes=tuple(code for code in RefusalCode if code in codes),
        persons=max((p.rules.persons_needed for p in every if _asks(p)), default=1),
        is_by_kind=any(_asks_by_kind(policy) for policy in every),
    )


def mark_kinds(database: Database, settings: Settings) -> int:
    """Mark some of the verdicts that are not marked by the tables of today; how many there were."""
    every = [policy for policy in policies(settings) if _asks_by_kind(policy)]
    digest = _tables_digest(every)
    with database.read() as connection:
        found = kinds.unmarked(connection, digest)
    examined = {f.examination_id: f for f in found if f.examination_id is not None}
    if not examined:  # as in nearly every round: nobody waits for the write lock then
        return 0
    asked = [key for key, finding in examined.items() if _is_asked(finding, every)]
    with database.begin() as connection:
        kinds.mark(connection, digest, asked, [key for key in examined if key not in set(asked)])
    return len(examined)


def _is_asked(finding: SeriesFinding, every: Sequence[Policy]) -> bool:
    """Whether a person can help: where the verdict holds anyway, the verdict is what is asked."""
    return any(
        policy.passes(volume.verdict.kind)
        and asks_for_a_person(policy.rules.series, finding, volume)
        for policy in every
        for volume in finding.volumes
    )


def _tables_digest(every: Sequence[Policy]) -> str:
    return hashlib.sha256("\n".join(policy.digest for policy in every).encode()).hexdigest()


def _asks(policy: Policy) -> bool:
    return _asks_by_verdict(policy) or _asks_by_kind(policy)


def _asks_by_verdict(policy: Policy) -> bool:
    return bool(policy.rules.review_verdicts or policy.rules.review_refusals)


def _asks_by_kind(policy: Policy) -> bool:
    return any(row.needs is Demand.PERSON for row in policy.rules.series)
