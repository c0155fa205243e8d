"""New names for old ones, the same for the same project, and nobody's without its key.

HMAC-SHA256 of what stood there: whoever holds the key can make the pseudonym of a person they
know, nobody can go back from it, and two projects never share one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from dicomnode.errors import ConfigurationError

LEAST_KEY_BYTES = 32
_LONGEST_SHIFT_DAYS = 3650
_DATE_TIME = re.compile(r"(?P<day>\d{8})(?P<rest>(\d{2}){0,3}(\.\d{1,6})?([+-]\d{4})?)")


@dataclass(frozen=True)
class Pseudonyms:
    """`key` is the secret of one project."""

    key: bytes = field(repr=False)

    def uid(self, uid: str) -> str:
        """Under 2.25 (PS3.5 B.2), of 128 bits."""
        return f"2.25.{int.from_bytes(self._hash('uid', uid)[:16], 'big')}"

    def person(self, patient: str) -> str:
        return base64.b32encode(self._hash("patient", patient)[:10]).decode("ascii")

    def shift_days(self, patient: str) -> int:
        """Days that all dates of a person go back: 1 to 3650, so intervals stay what they were."""
        number = int.from_bytes(self._hash("dates", patient)[:8], "big")
        return 1 + number % _LONGEST_SHIFT_DAYS

    def _hash(self, kind: str, value: str) -> bytes:
        return hmac.digest(self.key, f"{kind}\n{value}".encode("utf-8", "replace"), hashlib.sha256)


def read_key(file: Path, key: str) -> Pseudonyms:
    """`key` is that of the configuration; raises `ConfigurationError` without quoting the file."""
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"{key}: {file}: can't be read: {error.strerror}") from None
    if len(secret) < LEAST_KEY_BYTES:
        raise ConfigurationError(
            f"{key}: {file} holds less than {LEAST_KEY_BYTES} bytes: "
            "write a long random text there, e.g. openssl rand -base64 48"
        )
    if file.stat().st_mode & 0o077:
        raise ConfigurationError(f"{key}: {file} can be read by others: chmod 600 {file}")
    return Pseudonyms(secret)


def shifted_date(given: str, days: int) -> str:
    """A DA value `days` earlier; "" for what is none, or would lie before year 1."""
    try:
        shifted = date.fromisoformat(given.strip()[:8]) - timedelta(days)
    except (ValueError, OverflowError):
        return ""
    return shifted.isoformat().replace("-", "")  # strftime writes the year 999 with three digits


def shifted_date_time(given: str, days: int) -> str:
    """A DT value `days` earlier, its time and zone as they were; "" for what is none."""
    found = _DATE_TIME.fullmatch(given.strip())
    day = shifted_date(found["day"], days) if found else ""
    return f"{day}{found['rest']}" if found and day else ""
