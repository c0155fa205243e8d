"""What the name of an account looks like, wherever one is written down."""

from __future__ import annotations

import re

from dicomnode.errors import AccountError, DicomnodeError

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


def account_name(given: str, refuse: type[DicomnodeError] = AccountError) -> str:
    """In small letters: one person under two spellings must not count twice.

    Raises `refuse` where it is none.
    """
    name = given.strip().lower()
    if not _NAME.fullmatch(name):
        raise refuse(
            f"{given!r} is no account: up to 64 letters, digits and . _ @ -, without spaces"
        )
    return name
