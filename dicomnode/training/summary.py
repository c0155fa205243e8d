"""What all cases of an evaluation amount to: the JSON that goes into model cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dicomnode.training.intervals import FEWEST_PERSONS, RESAMPLES, Figure, Share, figure, share
from dicomnode.training.metrics import TOLERANCE_MM
from dicomnode.training.scores import REGIONS, Score
from dicomnode.training.verdict_figures import confusion, is_wrong, verdict_figures

AGREEMENTS = ("dice", "hd95_mm", "surface_dice")
CLEAN_ML = 1.0
WORST = 5

CONVENTIONS = {
    "empty_masks": "both empty: Dice 1, surface Dice 1, HD95 0 mm; one empty: 0, 0 and the "
    "diagonal of the volume",
    "counted_cases": "agreement: cases whose reference of the region is not empty; intact cases "
    "are told by false anonymised millilitres",
    "surface_dice": f"tolerance {TOLERANCE_MM:g} mm, by area (Nikolov et al. 2018)",
    "hd95": "95 % of both surfaces, by area, lie within it",
    "anonymised_area_head": "reference and answer inside the original foreground only",
    "interval": f"95 %, of the mean; percentile bootstrap, {RESAMPLES} resamples of persons (of "
    "cases where there is one person); shares: its hull with Wilson's interval; "
    f"with fewer than {FEWEST_PERSONS} persons it is too narrow to mean much",
    "defaced_sensitivity": "defaced cases called DEFACED",
    "defaced_specificity": "intact and partly defaced cases not called DEFACED",
    "face_visible_sensitivity": "intact cases called FACE_VISIBLE",
    "face_visible_specificity": "defaced cases and bodies not called FACE_VISIBLE",
}


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    """Figures with intervals per region, per state and method; verdicts; the worst cases."""
    groups = sorted({score.group for score in scores})
    return {
        "cases": len(scores),
        "persons": len({score.person for score in scores}),
        "conventions": CONVENTIONS,
        "regions": _regions(scores),
        "groups": {group: _group([s for s in scores if s.group == group]) for group in groups},
        "false_anonymised": {
            state: _false_anonymised([s for s in scores if s.state == state])
            for state in ("intact", "body")
        },
        "verdicts": {
            "confusion": confusion(scores),
            **{name: _dict(found) for name, found in verdict_figures(scores).items()},
        },
        "worst": worst(scores),
    }


def _regions(scores: Sequence[Score]) -> dict[str, Any]:
    return {
        region: {name: _figure(scores, region, name) for name in AGREEMENTS}
        for region in REGIONS
        if any(score.scored(region) for score in scores)
    }


def _figure(scores: Sequence[Score], region: str, name: str) -> dict[str, Any] | None:
    return _dict(figure([s.value(region, name) for s in scores], [s.person for s in scores]))


def _dict(found: Figure | Share | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _group(scores: Sequence[Score]) -> dict[str, Any]:
    volumes = ("foreground_ml", "face_ml", "exposed_face_ml", "anonymised_ml")
    persons = [score.person for score in scores]
    spans = {name: figure([getattr(s, name) for s in scores], persons) for name in volumes}
    verdicts = [score.verdict for score in scores]
    return {
        "cases": len(scores),
        "verdicts": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        "regions": _regions(scores),
        "volumes": {name: _dict(span) for name, span in spans.items()},
    }


def _false_anonymised(scores: Sequence[Score]) -> dict[str, Any] | None:
    """Nothing was anonymised in these, so every millilitre is false."""
    if not scores:
        return None
    persons = [score.person for score in scores]
    volume_ml = figure([score.anonymised_ml for score in scores], persons)
    clean = share([score.anonymised_ml <= CLEAN_ML for score in scores], persons)
    return {
        "volume_ml": _dict(volume_ml),
        f"at_most_{CLEAN_ML:g}_ml": _dict(clean),
    }


def worst(scores: Sequence[Score]) -> dict[str, Any]:
    """The cases to look at first: lowest Dice of each region, false millilitres, wrong verdicts."""
    lowest = {
        region: [
            {"case": s.case, "dice": round(s.value(region, "dice"), 4)}
            for s in sorted(
                (s for s in scores if s.scored(region)), key=lambda s: s.value(region, "dice")
            )[:WORST]
        ]
        for region in REGIONS
    }
    false = [s for s in scores if s.state in ("intact", "body") and s.anonymised_ml > CLEAN_ML]
    return {
        "lowest_dice": {region: cases for region, cases in lowest.items() if cases},
        "false_anonymised": [
            {"case": s.case, "ml": round(s.anonymised_ml, 2)}
            for s in sorted(false, key=lambda s: -s.anonymised_ml)[:WORST]
        ],
        "wrong_verdicts": [
            {"case": s.case, "state": s.state, "verdict": s.verdict} for s in scores if is_wrong(s)
        ],
    }
