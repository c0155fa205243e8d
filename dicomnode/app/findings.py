"""What one check of `dicomnode check` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `sentence` says what was found or what to do.

    `is_warning`: nothing is wrong yet, but somebody has to see to it.
    """

    subject: str
    ok: bool
    sentence: str
    is_warning: bool = False
