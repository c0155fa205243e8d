"""Which network of each kind looks at a volume: the rules of `inference.use`, and the manifest.

The first rule of a kind whose conditions hold names its network; a kind without rules has only one.
What a network is for stands in its manifest and counts as a condition of every rule: a network for
CT never sees MR. Where a condition asks for what a series does not say, the choice is open, and no
network is chosen rather than a later one: an absent Body Part Examined must not lead to a laxer
network unseen. A kind without a network makes the verdict UNDETERMINED.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from dicomnode.config import UseSettings
from dicomnode.domain import ModelIdentity, SegmentKind, Subject
from dicomnode.errors import ModelError

# What is examined at all; a volume of unknown modality (NIfTI) is one of them.
MODALITIES = frozenset({"CT", "MR"})


class Candidate(Protocol):
    """A network that may be chosen: pinned, or loaded and ready."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def modalities(self) -> tuple[str, ...]: ...


C = TypeVar("C", bound=Candidate)
Use = Sequence[UseSettings]


@dataclass(frozen=True)
class Choice(Generic[C]):
    """At most one network of each kind, in the order of `SegmentKind`; of the others, why none."""

    networks: tuple[C, ...]
    unanswered: Mapping[SegmentKind, str]


def choose(candidates: Sequence[C], use: Use, subject: Subject) -> Choice[C]:
    """The networks that look at a volume; `candidates` and `use` have passed `check`."""
    networks: list[C] = []
    unanswered: dict[SegmentKind, str] = {}
    for kind in SegmentKind:
        found = _of_kind(kind, candidates, use, subject)
        if isinstance(found, str):
            unanswered[kind] = found
        else:
            networks.append(found)
    return Choice(tuple(networks), unanswered)


def check(candidates: Sequence[Candidate], use: Use) -> None:
    """Raises `ModelError` where a rule can't be followed, or a kind has networks and no rule."""
    for number, rule in enumerate(use, start=1):
        _check_rule(f"inference.use, rule {number}", rule, candidates)
    for kind in SegmentKind:
        names = [each.identity.name for each in candidates if each.identity.kind is kind]
        if len(names) > 1 and not any(rule.kind is kind for rule in use):
            raise ModelError(
                f"{len(names)} {kind} networks are installed ({', '.join(names)}) and no "
                f'[[inference.use]] with kind = "{kind}" says which looks at which series'
            )


def example_rules(candidates: Sequence[Candidate], use: Use) -> str:
    """TOML that `check` takes, for each kind of which it refuses rules or networks.

    A site has to think about it: networks for fewer modalities come first, then those that were
    installed last.
    """
    rules: list[str] = []
    for kind in SegmentKind:
        own = [each for each in candidates if each.identity.kind is kind]
        try:
            check(own, [rule for rule in use if rule.kind is kind])
        except ModelError:
            latest_first = own[::-1]
            order = sorted(latest_first, key=lambda each: len(each.modalities))
            rules += [_example_rule(each, is_last=each is order[-1]) for each in order]
    return "\n".join(rules)


def _example_rule(network: Candidate, *, is_last: bool) -> str:
    """The last one of a kind is for all that the others leave."""
    who, is_for = network.identity, json.dumps(network.modalities)
    rule = f'[[inference.use]]\nkind = "{who.kind}"\nnetwork = {json.dumps(who.name)}\n'
    return rule if is_last else f"{rule}modalities = {is_for}\n"


def in_use(candidates: Sequence[C], use: Use) -> tuple[C, ...]:
    """Those that may be chosen; the others need not be loaded."""
    named = {(rule.kind, rule.network) for rule in use}
    ruled = {rule.kind for rule in use}
    return tuple(
        each
        for each in candidates
        if each.identity.kind not in ruled or (each.identity.kind, each.identity.name) in named
    )


def _check_rule(where: str, rule: UseSettings, candidates: Sequence[Candidate]) -> None:
    own = {each.identity.name: each for each in candidates if each.identity.kind is rule.kind}
    if rule.network not in own:
        there_are = f"there are {', '.join(own)}" if own else "there is none"
        raise ModelError(
            f"{where}: there is no {rule.kind} network {rule.network}; {there_are} "
            "(dicomnode models list)"
        )
    is_for = own[rule.network].modalities
    if foreign := [each for each in rule.modalities or () if each not in is_for]:
        raise ModelError(
            f"{where}: {rule.network} is for {', '.join(is_for)}, not for {', '.join(foreign)}"
        )


def _of_kind(kind: SegmentKind, candidates: Sequence[C], use: Use, subject: Subject) -> C | str:
    """The network, or the sentence that says why there is none."""
    own = {each.identity.name: each for each in candidates if each.identity.kind is kind}
    if not own:
        return f"no {kind} network is installed"
    rules = [rule for rule in use if rule.kind is kind]
    for rule in rules or [UseSettings(kind=kind, network=next(iter(own)))]:
        answers = _conditions(rule, own[rule.network], subject)
        if False in answers.values():
            continue
        if open_ := [what for what, holds in answers.items() if holds is None]:
            return (
                f"no {kind} network was chosen: {rule.network} depends on the "
                f"{' and the '.join(open_)}, which the series does not say"
            )
        return own[rule.network]
    if rules:
        return f"no rule of inference.use has a {kind} network for {_sentence(subject)}"
    (only,) = own.values()
    name, is_for = only.identity.name, ", ".join(only.modalities)
    return f"no {kind} network is for {subject.modality}: {name} is for {is_for}"


def _conditions(rule: UseSettings, network: Candidate, subject: Subject) -> dict[str, bool | None]:
    """By what it asks for, whether each condition holds; None where the series does not say."""
    finest, coarsest = rule.finest_spacing_mm, rule.coarsest_spacing_mm
    is_fine_enough = coarsest is None or max(subject.spacing_mm) <= coarsest
    is_coarse_enough = finest is None or min(subject.spacing_mm) >= finest
    return {
        "modality": _modality_holds(rule, network, subject),
        "body part (0018,0015)": _body_part_holds(rule, subject),
        "spacing": is_fine_enough and is_coarse_enough,
    }


def _modality_holds(rule: UseSettings, network: Candidate, subject: Subject) -> bool | None:
    wanted = set(network.modalities)
    if rule.modalities is not None:
        wanted &= set(rule.modalities)
    if subject.modality:
        return subject.modality in wanted
    return True if wanted >= MODALITIES else None


def _body_part_holds(rule: UseSettings, subject: Subject) -> bool | None:
    """An empty word stands for an absent body part, so that a site can say what it means."""
    if rule.body_parts is None:
        return True
    if not subject.body_part:
        return True if "" in rule.body_parts else None
    return any(word and word.upper() in subject.body_part for word in rule.body_parts)


def _sentence(subject: Subject) -> str:
    z, y, x = subject.spacing_mm
    part = subject.body_part[:16] or "no body part"
    return f"{subject.modality or 'an unknown modality'}, {part}, {z:g} x {y:g} x {x:g} mm"
