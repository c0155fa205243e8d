"""What examines: software, networks, how they run, the rules and their thresholds, as one digest.

A digest belongs to one series, since other networks may look at another. A verdict of which the
digest is not the wanted one was made by another version: the gate holds its study until
`dicomnode reexamine` has brought it up to date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.domain import ModelIdentity, Subject
from dicomnode.inference.models import Model, load_manifest, models_folder
from dicomnode.inference.selection import Choice, check, choose, in_use
from dicomnode.inference.verdict import RULE_VERSION


@dataclass(frozen=True)
class Examiner:
    """What a configuration examines with; no network is loaded for it."""

    models: tuple[Model, ...]
    settings: Settings

    @property
    def digest(self) -> str:
        """One digest for all of it: the networks that may be chosen, and how."""
        every = [model.identity for model in self.models]
        use = "\n".join(rule.model_dump_json() for rule in self.settings.inference.use)
        whole = f"{examiner_digest([every], self.settings)}\n{use}"
        return hashlib.sha256(whole.encode("utf-8")).hexdigest()

    def choose(self, subject: Subject) -> Choice[Model]:
        """The networks that look at a volume."""
        return choose(self.models, self.settings.inference.use, subject)

    def wanted_digest(self, subjects: Sequence[Subject]) -> str:
        """The digest that an examination of a series with these volumes would have now."""
        chosen = (self.choose(subject).networks for subject in subjects)
        volumes = [[model.identity for model in networks] for networks in chosen]
        return _digest(volumes, self._way)

    @cached_property
    def _way(self) -> tuple[str, ...]:
        """Found once: a count asks for the digest of every series."""
        return _way(self.settings)


def installed_examiner(settings: Settings) -> Examiner:
    """Raises `ModelError` where the manifest or a rule of `inference.use` is wrong."""
    models = load_manifest(models_folder(settings.inference.models_folder))
    use = settings.inference.use
    check(models, use)
    return Examiner(in_use(models, use), settings)


def examiner_digest(volumes: Sequence[Iterable[ModelIdentity]], settings: Settings) -> str:
    """Of the software, the networks that looked at each volume, how they run, rules, thresholds."""
    return _digest(volumes, _way(settings))


def _way(settings: Settings) -> tuple[str, ...]:
    return (
        f"dicomnode {__version__}",
        settings.inference.manner,
        f"rules {RULE_VERSION} {settings.verdict.model_dump_json()}",
        f"series {settings.series.model_dump_json()}",
        f"evidence {settings.evidence.model_dump_json()}",
    )


def _digest(volumes: Sequence[Iterable[ModelIdentity]], way: Sequence[str]) -> str:
    """Volumes that the same networks looked at count once."""
    chosen = [sorted(f"{one.kind.value} {one.sha256}" for one in each) for each in volumes]
    if chosen and all(each == chosen[0] for each in chosen):
        chosen = chosen[:1]
    parts = [line for each in chosen for line in (*each, "")][:-1]
    return hashlib.sha256("\n".join((*parts, *way)).encode("utf-8")).hexdigest()
