"""Which UIDs are accepted from peers (PS3.5 section 9).

Digits and dots, no empty component, at most 64 characters. Components with leading zeros are not
allowed by the Standard, but real vendors have made them: they are accepted and recorded.
"""

from __future__ import annotations

import re

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LEADING_ZERO = re.compile(r"(^|\.)0[0-9]")


def is_uid(value: str) -> bool:
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def has_leading_zero(value: str) -> bool:
    return _LEADING_ZERO.search(value) is not None


def only_uid(value: str) -> str:
    """The value if it is a UID; a hostile one reaches no row, no file and no log."""
    return value if is_uid(value) else ""
