"""What examines: software, networks, how they run, the rules and their thresholds, as one digest.

A digest belongs to one series, since other networks may look at another. A verdict of which the
digest is not the wanted one was made by another version: the gate holds its study until
`dicomnode reexamine` has brought it up to date.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.domain import ModelIdentity, Subject
from dicomnode.errors import ModelError
from dicomnode.inference.models import MANIFEST_NAME, Model, load_manifest, models_folder
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


class ExaminerInUse:
    """The installed examiner for a process that runs on while networks are installed.

    The manifest is read again only where its file is another one than before. Safe between
    threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._manifest = models_folder(settings.inference.models_folder) / MANIFEST_NAME
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, ...], Examiner] | None = None

    def now(self) -> Examiner:
        """Raises `ModelError` as `installed_examiner` does."""
        with self._lock:
            # Looked at before it is read: a change in between is seen the next time.
            state = self._state()
            if self._read is None or self._read[0] != state:
                self._read = None
                self._read = (state, installed_examiner(self._settings))
            return self._read[1]

    def wanted_digest(self, subjects: Sequence[Subject]) -> str:
        """By what is installed when it is asked; raises `ModelError` as `now` does."""
        return self.now().wanted_digest(subjects)

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._manifest.stat()
        except OSError as error:
            raise ModelError(f"{self._manifest}: can't be read: {error.strerror}") from None
        return (found.st_ino, found.st_mtime_ns, found.st_size)


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
