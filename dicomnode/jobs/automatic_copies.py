"""Copies without faces that the policy of a project asks for: `deface = "automatic"`.

A study is copied once nothing more of it is on its way. What showed a face long before the policy
said so is left to people: switching it on must not copy an archive.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from dicomnode.config import Settings
from dicomnode.errors import DefacingError, NotReadyError
from dicomnode.gate.asking import policies
from dicomnode.gate.copies import ask_by_policy
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking import study_copies
from dicomnode.tracking.database import Database

log = logging.getLogger("dicomnode.jobs")

# A worker that begins looks at the newest verdicts too: it may have been away for a while.
_LOOKS_BACK = 5_000
# Transactions end in another order than their numbers.
_OVERLAP = 500
_PAUSE_SECONDS = 5.0


@dataclass
class AutomaticCopies:
    """Looks again and again; `_waiting` are studies of which more may come."""

    database: Database
    _after: int | None = None
    _looked_at: float = 0.0
    _known: set[int] = field(default_factory=set)
    _waiting: set[str] = field(default_factory=set)

    def look(self, settings: Settings) -> None:
        """Every few seconds; nothing where no project asks for it."""
        projects = _projects(settings)
        now = time.monotonic()
        if not projects or now - self._looked_at < _PAUSE_SECONDS:
            return
        self._looked_at = now
        self._find()
        for study in sorted(self._waiting):
            if all(self._ask(settings, study, project) for project in projects):
                self._waiting.discard(study)

    def _find(self) -> None:
        with self.database.read() as connection:
            newest = study_copies.newest_verdict(connection)
            if self._after is None:
                self._after = max(0, newest - _LOOKS_BACK)
            found = study_copies.shows_a_face(connection, self._after)
        self._waiting |= {study for key, study in found if key not in self._known}
        # Of a long list the rest comes the next time.
        last = found[-1][0] if len(found) == study_copies.MOST_AT_ONCE else newest
        self._after = max(self._after, last - _OVERLAP)
        self._known = {key for key, _ in found if key > self._after}

    def _ask(self, settings: Settings, study: str, project: str) -> bool:
        """Whether nothing more is to be done for it."""
        digest = installed_examiner(settings).digest
        try:
            with self.database.begin() as connection:
                ask_by_policy(connection, study, settings, digest, project)
        except NotReadyError:
            return False
        except DefacingError as error:
            log.info("no copy without faces: %s", error, extra={"study": study})
        return True


def _projects(settings: Settings) -> list[str]:
    """That ask for copies: each with pseudonyms of its own, and the first of the others, who
    share theirs."""
    asking = [each for each in policies(settings) if each.rules.deface == "automatic"]
    sharing = [each.project for each in asking if not each.rules.deidentify]
    return [*sharing[:1], *(each.project for each in asking if each.rules.deidentify)]
