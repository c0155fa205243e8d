"""Which UIDs are taken from peers (PS3.5 section 9.1).

Real vendors have made UIDs that break the rules: components with leading zeros, empty components,
a dot at the end. What is made of digits and dots alone can be kept (`is_uid`), and is recorded or
refused as `scp.malformed_uids` says (`is_well_formed`). Anything else is no UID.
"""

from __future__ import annotations

import re

_DIGITS_AND_DOTS = re.compile(r"\.*[0-9][0-9.]*")
_COMPONENT = "(0|[1-9][0-9]*)"
_WELL_FORMED = re.compile(rf"{_COMPONENT}(\.{_COMPONENT})*")
_LONGEST = 64


def is_uid(value: str) -> bool:
    """1 to 64 digits and dots, at least one of them a digit."""
    return len(value) <= _LONGEST and _DIGITS_AND_DOTS.fullmatch(value) is not None


def is_well_formed(value: str) -> bool:
    """PS3.5 9.1: at most 64 characters, no empty component, no leading zeros."""
    return len(value) <= _LONGEST and _WELL_FORMED.fullmatch(value) is not None


def only_uid(value: str) -> str:
    """The value if it is a UID; a hostile one reaches no row, no file and no log."""
    return value if is_uid(value) else ""
