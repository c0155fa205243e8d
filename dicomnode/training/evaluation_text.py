"""An evaluation in a dozen lines, for whoever ran it."""

from __future__ import annotations

from collections.abc import Iterator

from dicomnode.training.evaluate import Evaluation
from dicomnode.training.intervals import FEWEST_PERSONS, Share, figure
from dicomnode.training.scores import REGIONS
from dicomnode.training.verdict_figures import is_wrong, verdict_figures

AGREEMENTS = {"dice": "Dice", "hd95_mm": "HD95 mm", "surface_dice": "surface Dice"}


def evaluation_text(done: Evaluation) -> Iterator[str]:
    """Means with their intervals, shares with their counts, and what went wrong."""
    kept = f" ({done.reused} judged before)" if done.reused else ""
    persons = len({score.person for score in done.scores})
    yield f"{len(done.scores)} cases, persons: {persons}{kept}"
    if persons < FEWEST_PERSONS:
        yield f"fewer than {FEWEST_PERSONS} persons: the intervals are too narrow to mean much"
    yield from _agreements(done)
    for name, found in verdict_figures(done.scores).items():
        if found is not None:
            yield f"{name.replace('_', ' ')}: {_share(found)}"
    for score in done.scores:
        if is_wrong(score):
            yield f"wrong: {score.case} is {score.state}, called {score.verdict}"
    for case, reason in done.failed.items():
        yield f"not judged: {case}: {reason}"
    for name in done.ignored:
        yield f"no case, since it lies in no folder of a state: {name}"


def _agreements(done: Evaluation) -> Iterator[str]:
    persons = [score.person for score in done.scores]
    for region in REGIONS:
        told = []
        for name, title in AGREEMENTS.items():
            found = figure([s.value(region, name) for s in done.scores], persons)
            if found is not None:
                told.append(f"{title} {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]")
        if told:
            yield f"{region.replace('_', ' ')}: {', '.join(told)}"


def _share(found: Share) -> str:
    return f"{found.count} of {found.cases} = {found.share:.3f} [{found.low:.3f}, {found.high:.3f}]"
