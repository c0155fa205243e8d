"""Passwords as Argon2id hashes (RFC 9106), with its recommendation for little memory.

A hash takes some 50 ms of a processor and 64 MiB: never make or check one in a transaction.
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from dicomnode.errors import AccountError

SHORTEST_CHARACTERS = 12
LONGEST_BYTES = 1024
# Of a password that nobody knows, for names that nobody has: checking it takes as long.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$"
    "mk8bbUGT5qHfw6x/vFLWOA$x249rjOwxdKIWqtErtF+KaJioCTzd0QeRGOANCsFDAM"
)


def hashed(password: str) -> str:
    """Raises `AccountError` where it is too short or too long."""
    prepared = _prepared(password)
    if len(prepared.decode("utf-8", "surrogatepass")) < SHORTEST_CHARACTERS:
        raise AccountError(f"a password has at least {SHORTEST_CHARACTERS} characters")
    if len(prepared) > LONGEST_BYTES:
        raise AccountError(f"a password has at most {LONGEST_BYTES} bytes in UTF-8")
    return _hasher().hash(prepared)


def is_right(password: str, password_hash: str) -> bool:
    """An empty hash is of nobody: no password is right, and finding out takes as long."""
    prepared = _prepared(password)
    if len(prepared) > LONGEST_BYTES:
        prepared = b""  # shorter than any that was hashed
    try:
        return _hasher().verify(password_hash or _NOBODY, prepared) and bool(password_hash)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(password_hash: str) -> bool:
    """Made with other parameters than a new one would be."""
    return _hasher().check_needs_rehash(password_hash)


def _hasher() -> PasswordHasher:
    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def _prepared(password: str) -> bytes:
    """The same letters from every keyboard (NFKC, as NIST SP 800-63B asks)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
