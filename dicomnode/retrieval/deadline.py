"""A bound on a whole retrieval: a time-out between two messages does not end one that trickles."""

from __future__ import annotations

import time

from dicomnode.errors import RetrievalError


class Deadline:
    """Begins when it is made; to be checked before every wait and after every piece."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._ends

    def check(self) -> None:
        """Raises `RetrievalError` when the time is over."""
        if self.is_over:
            raise RetrievalError(
                f"it took longer than pull.study_timeout_seconds, {self._seconds:g} s"
            )
