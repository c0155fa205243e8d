"""The policy of a research project: its rules under their name, and questions to them.

Policies have an order: one is at least as strict as another where it lets no more verdicts, codes,
modalities and files pass, wants a person for all that the other does, as many persons, as many
claims of headers, and as much of every kind of series. A stricter one never releases what a laxer
one holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from dicomnode.config import Settings
from dicomnode.config_policy import DEFAULT_PROJECT, GateSettings
from dicomnode.domain import HeaderClaims, RefusalCode, VerdictKind
from dicomnode.gate.series_rules import asks_as_much_as

# Of each requirement the attribute, and the value that every instance has to have.
_REQUIREMENTS = {
    "patient_identity_removed": ("(0012,0062) Patient Identity Removed", "YES"),
    "no_recognizable_visual_features": ("(0028,0302) Recognizable Visual Features", "NO"),
    "no_burned_in_annotation": ("(0028,0301) Burned In Annotation", "NO"),
}


@dataclass(frozen=True)
class Policy:
    """`unknown` is a sentence where there is no such project: everything holds then."""

    project: str
    rules: GateSettings
    unknown: str = ""

    @property
    def digest(self) -> str:
        """What a receipt names: the project and every rule."""
        # `deface` decides nothing, and without `deidentify` all is as it was before there was any.
        silent = {"deface"} if self.rules.deidentify else {"deface", "deidentify"}
        rules = self.rules.model_dump_json(exclude=silent)
        text = f"{self.project}\n{rules}\n{self.unknown}"
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def passes(self, found: VerdictKind | RefusalCode) -> bool:
        return found in (*self.rules.pass_verdicts, *self.rules.pass_refusals)

    def wants_a_person_for(self, found: VerdictKind | RefusalCode) -> bool:
        return found in (*self.rules.review_verdicts, *self.rules.review_refusals)

    def lets_leave(self, modality: str) -> bool:
        return self.rules.modalities is None or modality in self.rules.modalities

    @property
    def requires_claims(self) -> bool:
        return any(getattr(self.rules, name) for name in _REQUIREMENTS)

    def holding_claims(self, claims: HeaderClaims) -> Iterator[str]:
        """A sentence for each claim that the headers of a volume make or lack, and that holds it.

        What the node records is the strictest reading of all instances (`dicom.header`).
        """
        said = {
            "patient_identity_removed": claims.patient_identity_removed,
            "no_recognizable_visual_features": claims.recognizable_visual_features,
            "no_burned_in_annotation": claims.burned_in_annotation,
        }
        if claims.burned_in_annotation == "YES" and not self.rules.pass_burned_in_annotation:
            yield "(0028,0301) Burned In Annotation is YES: text in the images may name the patient"
        for name, (attribute, wanted) in _REQUIREMENTS.items():
            if getattr(self.rules, name) and said[name] != wanted:
                yield (
                    f"project {self.project} asks for it, but {attribute} is not {wanted} in "
                    "every instance"
                )

    def is_as_strict_as(self, other: Policy) -> bool:
        """At least; unknown projects are the strictest."""
        if self.unknown or other.unknown:
            return bool(self.unknown)
        mine, others = self.rules, other.rules
        fewer = ("pass_verdicts", "pass_refusals", "other_file_suffixes")
        more = ("review_verdicts", "review_refusals")
        return (
            all(set(getattr(mine, name)) <= set(getattr(others, name)) for name in fewer)
            and all(set(getattr(mine, name)) >= set(getattr(others, name)) for name in more)
            and all(getattr(mine, name) >= getattr(others, name) for name in _REQUIREMENTS)
            and mine.persons_needed >= others.persons_needed
            and mine.pass_burned_in_annotation <= others.pass_burned_in_annotation
            and mine.deidentify >= others.deidentify
            and mine.requires_face_detector >= others.requires_face_detector
            and asks_as_much_as(mine.series, others.series)
            and _is_within(mine.modalities, others.modalities)
        )


def policy_of(settings: Settings, project: str = DEFAULT_PROJECT) -> Policy:
    """The policy of a project; that of one that is not configured holds everything."""
    if project == DEFAULT_PROJECT:
        own = settings.gate.model_dump(exclude={"key_file"})
        return Policy(project, GateSettings.model_validate(own))
    if (found := settings.projects.get(project)) is not None:
        rules = found.model_dump(exclude={"deidentification"})
        return Policy(project, GateSettings.model_validate(rules))
    known = ", ".join((DEFAULT_PROJECT, *sorted(settings.projects)))
    sentence = (
        f"there is no project {project!r} in the configuration, so nothing says what may leave "
        f"for it (configured: {known})"
    )
    return Policy(project, GateSettings(pass_verdicts=()), sentence)


def _is_within(mine: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    return others is None or (mine is not None and set(mine) <= set(others))
