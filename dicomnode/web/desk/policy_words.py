"""A policy in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dicomnode.config_policy import Demand, GateSettings, SeriesRule
from dicomnode.domain import VerdictKind
from dicomnode.web.desk import words
from dicomnode.web.desk.facts import Fact

_DEMANDS = {
    Demand.NOTHING: "leave as any other",
    Demand.PERSON: "leave when people decided",
    Demand.HOLD: "hold",
}
_CLAIMS = {
    "patient_identity_removed": "(0012,0062) Patient Identity Removed is YES",
    "no_recognizable_visual_features": "(0028,0302) Recognizable Visual Features is NO",
    "no_burned_in_annotation": "(0028,0301) Burned In Annotation is NO",
}


def rules(policy: GateSettings) -> Iterator[Fact]:
    """What lets a series leave; all else holds."""
    persons = "one person" if policy.persons_needed == 1 else "two different people"
    looked = set(policy.review_verdicts)
    alone = [kind for kind in policy.pass_verdicts if kind not in looked]
    seen = [kind for kind in policy.pass_verdicts if kind in looked]
    yield Fact("Leave by their verdict", _listed(map(_label, alone)))
    yield Fact(f"Leave when {persons} decided", _listed(map(_label, seen)))
    asked = set(policy.review_refusals)
    let = [code for code in policy.pass_refusals if code not in asked]
    reviewed = [code for code in policy.pass_refusals if code in asked]
    yield Fact("Images without a volume that leave", _listed(let))
    yield Fact(f"Of them, when {persons} decided", _listed(reviewed))
    yield Fact("Modalities", _listed(policy.modalities or (), "any"))
    claims = [sentence for key, sentence in _CLAIMS.items() if getattr(policy, key)]
    yield Fact("Headers of every instance", _listed(claims, "nothing is asked for"))
    burned_in = "may leave" if policy.pass_burned_in_annotation else "hold"
    yield Fact("Images that say they have burned-in text", burned_in)
    looked_at = "looked at every volume" if policy.requires_face_detector else "is not asked for"
    yield Fact("The independent face detector", looked_at)
    copies = "by itself" if policy.deface == "automatic" else "when somebody asks"
    yield Fact("The node makes copies without faces", copies)
    names = "are de-identified" if policy.deidentify else "stay as they came"
    yield Fact("Headers of these copies", names)
    for rule in policy.series:
        yield Fact(f"Series of the kind “{rule.name}”", _DEMANDS[rule.needs], _conditions(rule))
    yield Fact("Other files in a folder", _listed(policy.other_file_suffixes))


def _conditions(rule: SeriesRule) -> str:
    """Where all of these hold; the first kind whose conditions hold counts."""
    parts = (
        _listed(rule.modalities or (), ""),
        f"slices {rule.slices_at_least_mm:g} mm or more apart" if rule.slices_at_least_mm else "",
        f"{rule.volumes_at_least} volumes or more" if rule.volumes_at_least else "",
        f"image type {' or '.join(rule.image_types)}" if rule.image_types else "",
        f"scanning sequence {' or '.join(rule.scanning_sequences)}"
        if rule.scanning_sequences
        else "",
    )
    return "; ".join(part for part in parts if part)


def _label(kind: VerdictKind) -> str:
    return words.VERDICTS[kind].label


def _listed(names: Iterable[str], none: str = "none") -> str:
    return ", ".join(names) or none
