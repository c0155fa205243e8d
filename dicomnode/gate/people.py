"""What people said of a series, as the gate counts it.

A decision counts while it is of the revision and the examination that stand there now. A stale one
releases nothing, but a stale "not defaced" goes on holding: the same images are still there, and a
later automatic verdict must not overrule a person in silence.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomnode.gate.policy import Policy
from dicomnode.tracking.decisions import DecisionKind, HumanDecision
from dicomnode.tracking.findings import SeriesFinding

_SAID = {
    DecisionKind.DEFACED: "defaced",
    DecisionKind.NOT_DEFACED: "not defaced",
    DecisionKind.NOT_APPLICABLE: "not applicable",
}


def objections(finding: SeriesFinding, policy: Policy) -> tuple[str, ...]:
    """What holds whatever the verdict: a "not defaced", or people who contradict each other."""
    fresh, stale = _parted(finding)
    told = _verdict(finding)
    noes = [f"{_by(one)}{told}" for one in fresh if one.kind is DecisionKind.NOT_DEFACED]
    if contradict(finding):
        noes.append(f"people contradict each other: {'; '.join(map(_by, fresh))}")
    if len(fresh) < policy.rules.persons_needed:
        noes += [
            f"{_by(one)}, of an earlier examination{told}: a person has to look again"
            for one in stale
            if one.kind is DecisionKind.NOT_DEFACED
        ]
    return tuple(noes)


def contradict(finding: SeriesFinding) -> bool:
    """Whether people say different things of what stands there now."""
    fresh, _ = _parted(finding)
    return len({one.kind for one in fresh}) > 1


def lacking(finding: SeriesFinding, policy: Policy) -> str:
    """A sentence where too few people have decided; what they said is told by `objections`."""
    fresh, stale = _parted(finding)
    needed = policy.rules.persons_needed
    if len(fresh) >= needed:
        return ""
    who = "a person has" if needed == 1 else f"{needed} different persons have"
    so_far = f", {len(fresh)} did so far" if fresh else ""
    old = f" ({'; '.join(map(_no_longer, stale))})" if stale else ""
    return f"{who} to decide{so_far}{old}: dicomnode decide {finding.series_instance_uid}"


def remarks(finding: SeriesFinding) -> tuple[str, ...]:
    """What people said of a series that may leave."""
    fresh, stale = _parted(finding)
    return (*map(_by, fresh), *map(_no_longer, stale))


def _parted(finding: SeriesFinding) -> tuple[Sequence[HumanDecision], Sequence[HumanDecision]]:
    """Those that are of what stands there now, one an account, and the stale ones."""
    last = {one.account: one for one in sorted(finding.decisions, key=lambda one: one.id)}
    ordered = sorted(last.values(), key=lambda one: one.id)
    key = (finding.revision_digest, finding.examination_id)
    fresh = [one for one in ordered if one.is_of(*key)]
    return fresh, [one for one in ordered if not one.is_of(*key)]


def _verdict(finding: SeriesFinding) -> str:
    return f"; the verdict is {finding.verdict.kind}" if finding.verdict is not None else ""


def _by(one: HumanDecision) -> str:
    return f"{one.account} decided {_SAID[one.kind]} on {one.at.date().isoformat()}"


def _no_longer(one: HumanDecision) -> str:
    return f"{_by(one)}, of an earlier examination: that no longer counts"
