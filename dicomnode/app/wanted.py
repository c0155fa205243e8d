"""What examines now, for processes that live longer than an installation of networks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from dicomnode.config import Settings
from dicomnode.domain import Subject, WantedDigest
from dicomnode.inference.examiner import Examiner, installed_examiner
from dicomnode.inference.models import MANIFEST_NAME, models_folder


def wanted_now(settings: Settings) -> WantedDigest:
    """As `installed_examiner(settings).wanted_digest`, whatever is installed when it is asked.

    Raises `ModelError`, now and when it is asked, where the networks can't be used.
    """
    return _Wanted(settings)


class _Wanted:
    """Reads the manifest again when it was replaced; called from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._manifest = models_folder(settings.inference.models_folder) / MANIFEST_NAME
        self._lock = threading.Lock()
        self._read = _state(self._manifest)
        self._examiner = installed_examiner(settings)

    def __call__(self, subjects: Sequence[Subject]) -> str:
        return self._now().wanted_digest(subjects)

    def _now(self) -> Examiner:
        with self._lock:
            state = _state(self._manifest)
            if state != self._read:
                self._examiner, self._read = installed_examiner(self._settings), state
            return self._examiner


def _state(file: Path) -> tuple[int, int, int] | None:
    """None where it is gone: reading it says so."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size
