"""Sensitivity and specificity of the verdict, and the errors that matter.

The verdict has four values, so "sensitivity" needs a question; there are two:

- *Is it truly defaced?* Answer yes: DEFACED. Sensitivity: the share of defaced cases called
  DEFACED. Specificity: the share of heads with a face, whole or in part, not called DEFACED.
- *Is a face visible?* Answer yes: FACE_VISIBLE. Sensitivity: the share of intact cases called
  FACE_VISIBLE. Specificity: the share of defaced and faceless cases not called FACE_VISIBLE.
  Cases with a part of the face are in neither: FACE_VISIBLE and UNDETERMINED are both right.

UNDETERMINED is never a yes: it costs a person's look, so its share is told beside.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from dicomnode.domain import VerdictKind
from dicomnode.training.case_folders import STATES
from dicomnode.training.intervals import Share, share
from dicomnode.training.scores import Score

# Figure: the true states that are counted, the verdicts that are a hit.
_ALL = frozenset(VerdictKind)
FIGURES: dict[str, tuple[Collection[str], Collection[VerdictKind]]] = {
    "defaced_sensitivity": (("defaced",), {VerdictKind.DEFACED}),
    "defaced_specificity": (("intact", "partial", "cut_off"), _ALL - {VerdictKind.DEFACED}),
    "face_visible_sensitivity": (("intact",), {VerdictKind.FACE_VISIBLE}),
    "face_visible_specificity": (("defaced", "body"), _ALL - {VerdictKind.FACE_VISIBLE}),
    "no_face_in_view_sensitivity": (("body",), {VerdictKind.NO_FACE_IN_VIEW}),
    "undetermined": (STATES, {VerdictKind.UNDETERMINED}),
    "error_defaced_called_face_visible": (("defaced",), {VerdictKind.FACE_VISIBLE}),
    "error_intact_called_defaced": (("intact",), {VerdictKind.DEFACED}),
    "error_partial_called_defaced": (("partial", "cut_off"), {VerdictKind.DEFACED}),
}
RELEASING_ERRORS = ("error_intact_called_defaced", "error_partial_called_defaced")


def verdict_figures(scores: Sequence[Score]) -> dict[str, Share | None]:
    """Every figure of `FIGURES`; None where no case asks the question."""
    return {name: _share(scores, *of) for name, of in FIGURES.items()}


def _share(
    scores: Sequence[Score], states: Collection[str], hits: Collection[VerdictKind]
) -> Share | None:
    asked = [score for score in scores if score.state in states]
    return share([s.verdict in set(hits) for s in asked], [s.person for s in asked])


def confusion(scores: Sequence[Score]) -> dict[str, dict[str, int]]:
    """How often each verdict was given, for each true state that occurs."""
    table: dict[str, Any] = {}
    for state in STATES:
        given = [score.verdict for score in scores if score.state == state]
        if given:
            table[state] = {kind.value: given.count(kind.value) for kind in VerdictKind}
    return table


def is_wrong(score: Score) -> bool:
    """An error that matters: a face called defaced, or a defaced head called a face."""
    errors = (of for name, of in FIGURES.items() if name.startswith("error_"))
    return any(score.state in states and score.verdict in set(hits) for states, hits in errors)
