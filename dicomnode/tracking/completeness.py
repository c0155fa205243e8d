"""When is a series whole? The rule, without a database: facts in, a named decision out.

What others say of the size of a series comes first, then what its headers hint at, then how its
associations ended, then quiet alone. docs/conformance.md has the rule in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dicomnode.config import CompletenessSettings
from dicomnode.domain import SizeHints


class Signal(StrEnum):
    """What found a series complete. Stable: they stand in databases and reports."""

    MPPS_COMPLETED = "MPPS_COMPLETED"
    INSTANCES_AVAILABLE = "INSTANCES_AVAILABLE"
    SENDER_COUNT = "SENDER_COUNT"
    PULL_COUNT = "PULL_COUNT"
    COPY_COUNT = "COPY_COUNT"
    IMAGES_IN_ACQUISITION = "IMAGES_IN_ACQUISITION"
    NUMBER_OF_FRAMES = "NUMBER_OF_FRAMES"
    ASSOCIATION_RELEASED = "ASSOCIATION_RELEASED"
    QUIET_TIME = "QUIET_TIME"


class Source(StrEnum):
    """Who knows how many instances a series has."""

    MPPS = "MPPS"
    IAN = "IAN"
    C_FIND = "C-FIND"
    PULL = "pull"
    COPY = "copy"


_SIGNALS = {
    Source.MPPS: Signal.MPPS_COMPLETED,
    Source.IAN: Signal.INSTANCES_AVAILABLE,
    Source.C_FIND: Signal.SENDER_COUNT,
    Source.PULL: Signal.PULL_COUNT,
    Source.COPY: Signal.COPY_COUNT,
}
_WORDS = {
    Source.MPPS: "the performed procedure step (MPPS)",
    Source.IAN: "the Instance Availability Notification",
    Source.C_FIND: "the sender (C-FIND)",
    Source.PULL: "the source of its pull",
    Source.COPY: "the copy without faces",
}


@dataclass(frozen=True)
class NamedCount:
    """Somebody says that a series has so many instances."""

    source: Source
    count: int

    @property
    def who(self) -> str:
        return _WORDS[self.source]


@dataclass(frozen=True)
class Completion:
    """The decision that a series is complete: the signal, and a sentence for people."""

    signal: Signal
    sentence: str


@dataclass(frozen=True)
class HintGroup:
    """Instances of one series that say the same of its size."""

    hints: SizeHints
    instances: int


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of a series with instances that its newest revision doesn't hold.

    `is_being_sent`: an association that sent to its study is open. `received_at`: its last
    instance, also one that came again. `quiet_since`: the later of
    its last instance and the last end of an association that sent to the study. `was_released`:
    all of those that count ended in order, and there was at least one (`facts`).
    `learned_quiet_seconds`: of its sender; None where nothing was learned yet.
    """

    series_id: int
    study_instance_uid: str
    series_instance_uid: str
    calling_ae_title: str
    instance_count: int
    is_being_sent: bool
    was_released: bool
    received_at: datetime
    quiet_since: datetime
    expected: tuple[tuple[Source, int], ...] = ()
    hint_groups: tuple[HintGroup, ...] = ()
    learned_quiet_seconds: float | None = None


@dataclass(frozen=True)
class Hint:
    """What the headers of a series say together: `whole` when all of it is here."""

    signal: Signal
    whole: bool
    sentence: str


def decide(facts: SeriesFacts, settings: CompletenessSettings, now: datetime) -> Completion | None:
    """None: not yet. A pure function: the same facts always give the same decision."""
    if facts.instance_count == 0:
        return None
    silent_seconds = (now - facts.received_at).total_seconds()
    missing = _missing(facts)
    if missing is None and (whole := _counted(facts)) is not None:
        # Instances may be announced one by one, each when it is available.
        may_grow = facts.is_being_sent or whole.signal is Signal.INSTANCES_AVAILABLE
        is_arriving = may_grow and silent_seconds < shortest_wait_seconds(settings)
        return None if is_arriving else whole
    wait_seconds, signal, why = _patience(facts, settings, missing)
    if facts.is_being_sent:
        wait_seconds = max(wait_seconds, settings.longest_open_seconds)
        return _left_open(silent_seconds) if silent_seconds >= wait_seconds else None
    quiet_seconds = (now - facts.quiet_since).total_seconds()
    if quiet_seconds < wait_seconds:
        return None
    return Completion(signal, f"{why}; nothing came for {quiet_seconds:.0f} s")


def shortest_wait_seconds(settings: CompletenessSettings) -> float:
    """The lower bound of every wait; never longer than `quiet_seconds` itself."""
    return min(settings.shortest_quiet_seconds, settings.quiet_seconds)


def longest_wait_seconds(settings: CompletenessSettings) -> float:
    """The upper bound of what is learned; never shorter than `quiet_seconds` itself."""
    return max(settings.longest_quiet_seconds, settings.quiet_seconds)


def learned_wait_seconds(learned: float | None, settings: CompletenessSettings) -> float:
    """The quiet time of a sender within the bounds; `quiet_seconds` for an unknown one."""
    if learned is None or not settings.adaptive:
        return settings.quiet_seconds
    return min(max(learned, shortest_wait_seconds(settings)), longest_wait_seconds(settings))


def hint_of(groups: Sequence[HintGroup]) -> Hint | None:
    """None where the headers say nothing that can be relied on, or contradict each other."""
    return _images_in_acquisition(groups) or _number_of_frames(groups)


def _left_open(silent_seconds: float) -> Completion:
    """An association that is kept open for hours says nothing of a series any more."""
    why = "an association is still open, but nothing came over it for this series"
    return Completion(Signal.QUIET_TIME, f"{why} for {silent_seconds:.0f} s")


def _counted(facts: SeriesFacts) -> Completion | None:
    """Someone names exactly as many instances as are here."""
    for source, count in facts.expected:
        if count == facts.instance_count:
            return Completion(_SIGNALS[source], f"all {count} instances {_named_by(source)} here")
    return None


def _missing(facts: SeriesFacts) -> tuple[Source, int] | None:
    """Who names more instances than are here. One that names fewer is out of date: no signal."""
    largest = max(facts.expected, key=lambda expected: expected[1], default=None)
    return largest if largest is not None and largest[1] > facts.instance_count else None


def _patience(
    facts: SeriesFacts, settings: CompletenessSettings, missing: tuple[Source, int] | None
) -> tuple[float, Signal, str]:
    """How long it has to be quiet, the signal that fires then, and its reason."""
    learned = learned_wait_seconds(facts.learned_quiet_seconds, settings)
    full = max(learned, settings.quiet_seconds)
    hint = hint_of(facts.hint_groups)
    if missing is not None:
        why = f"{facts.instance_count} of {missing[1]} instances {_named_by(missing[0])} here"
        return max(full, settings.wait_for_missing_seconds), Signal.QUIET_TIME, why
    if not facts.was_released:
        why = "an association was aborted or lost and not made good, or isn't known"
        return full, Signal.QUIET_TIME, why
    if hint is not None and hint.whole:
        return shortest_wait_seconds(settings), hint.signal, hint.sentence
    if hint is not None:
        return full, Signal.QUIET_TIME, hint.sentence
    return learned, Signal.ASSOCIATION_RELEASED, "every association that counts was released"


def _named_by(source: Source) -> str:
    return f"that {_WORDS[source]} names are"


def _images_in_acquisition(groups: Sequence[HintGroup]) -> Hint | None:
    """PS3.3 C.7.6.1 (0020,1002), of a series that is one acquisition."""
    acquisitions = {group.hints.acquisition_number for group in groups}
    totals = {group.hints.images_in_acquisition for group in groups}
    total = next(iter(totals), None)
    if len(acquisitions) != 1 or len(totals) != 1 or not total:
        return None
    here = sum(group.instances for group in groups)
    sentence = f"{here} of {total} images in acquisition (0020,1002) are here"
    # More than there should be: the attribute doesn't count what is in this series.
    return None if here > total else Hint(Signal.IMAGES_IN_ACQUISITION, here == total, sentence)


def _number_of_frames(groups: Sequence[HintGroup]) -> Hint | None:
    """PS3.3 C.7.6.16.2.2.4: multi-frame objects, whole, or in the pieces of a concatenation."""
    if not groups or not all(_is_multi_frame(group.hints) for group in groups):
        return None
    here: Counter[str] = Counter()
    totals: dict[str, int | None] = {}
    for group in groups:
        uid = group.hints.concatenation_uid
        here[uid] += group.instances
        # Without a concatenation an object is whole in itself.
        totals[uid] = group.hints.in_concatenation_total if uid else here[uid]
    if any(total is None for total in totals.values()):
        return None
    pieces = sum(total or 0 for total in totals.values())
    sentence = f"{here.total()} of {pieces} multi-frame objects are here"
    whole = all(here[uid] == total for uid, total in totals.items())
    return Hint(Signal.NUMBER_OF_FRAMES, whole, sentence)


def _is_multi_frame(hints: SizeHints) -> bool:
    """The last piece of a concatenation may be a single frame."""
    return bool(hints.concatenation_uid) or (hints.number_of_frames or 0) > 1
