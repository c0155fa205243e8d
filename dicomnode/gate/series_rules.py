"""The table of series: what a volume needs because of what kind of series it is.

The first row whose conditions hold counts. A condition that can't be told is both: the answer is
then the stricter one of the two that are possible.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from dicomnode.config_policy import Demand, SeriesRule
from dicomnode.domain import ExaminedVolume, RefusalCode
from dicomnode.tracking.findings import SeriesFinding

# True, False, or None: can't be told.
Answer = bool | None


def deciding_rule(
    rows: Sequence[SeriesRule], finding: SeriesFinding, volume: ExaminedVolume
) -> SeriesRule | None:
    """The row that counts for this volume of a series; None where none does."""
    for number, row in enumerate(rows):
        answer = _all(_conditions(row, finding, volume))
        if answer is True:
            return row
        if answer is None:
            other = deciding_rule(rows[number + 1 :], finding, volume)
            return other if other and other.needs.severity > row.needs.severity else row
    return None


def asks_for_a_person(
    rows: Sequence[SeriesRule], finding: SeriesFinding, volume: ExaminedVolume
) -> bool:
    rule = deciding_rule(rows, finding, volume)
    return rule is not None and rule.needs is Demand.PERSON


def asks_as_much_as(mine: Sequence[SeriesRule], others: Sequence[SeriesRule]) -> bool:
    """Whether `mine` is `others` with rows before it that ask for as much as any of these.

    Only then is it certain to ask for as much of every volume; tables that differ otherwise are
    not compared.
    """
    before = mine[: len(mine) - len(others)]
    most = max((row.needs.severity for row in others), default=Demand.NOTHING.severity)
    is_continued = list(mine[len(before) :]) == list(others)
    return is_continued and all(row.needs.severity >= most for row in before)


def _conditions(
    row: SeriesRule, finding: SeriesFinding, volume: ExaminedVolume
) -> Iterator[Answer]:
    acquired = volume.evidence.acquisition
    if row.modalities is not None:
        yield finding.modality in row.modalities if finding.modality else None
    if row.slices_at_least_mm is not None:
        found_mm = acquired.slice_spacing_mm
        yield None if found_mm is None else found_mm >= row.slices_at_least_mm
    if row.volumes_at_least is not None:
        yield _has_so_many_volumes(finding, row.volumes_at_least)
    if row.image_types is not None:
        yield _any_of(row.image_types, acquired.image_types)
    if row.scanning_sequences is not None:
        yield _any_of(row.scanning_sequences, acquired.scanning_sequences)


def _has_so_many_volumes(finding: SeriesFinding, count: int) -> Answer:
    """Of images that were not chosen nobody knows how many volumes they are."""
    if len(finding.volumes) >= count:
        return True
    codes = {set_aside.refusal.code for set_aside in finding.refusals}
    return None if RefusalCode.NOT_CHOSEN in codes else False


def _any_of(words: Collection[str], said: Collection[str] | None) -> Answer:
    if said is None:
        return None
    return not {word.upper() for word in words}.isdisjoint(said)


def _all(answers: Iterator[Answer]) -> Answer:
    given = list(answers)
    if False in given:
        return False
    return None if None in given else True
