"""Templates, and the numbers in them: each with its unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from dicomnode.web.desk import words

FOLDER = Path(__file__).parent


def environment() -> jinja2.Environment:
    """Everything is escaped, and a name that a page forgot to give is an error, not a gap."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        age=age,
        by_series=by_series,
        bytes=size,
        count=count,
        iso=iso,
        minute=minute,
        number=number,
        short=short,
        tail=tail,
    )
    made.globals.update(badge=words.badge, segments=words.SEGMENTS)
    return made


def render(made: jinja2.Environment, template: str, values: Mapping[str, Any]) -> str:
    return made.get_template(template).render(values)


def age(seconds: float) -> str:
    """The two largest units: "3 d 4 h", "12 min", "40 s"."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{whole} s"


def size(size_bytes: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} bytes"


def count(how_many: int, one: str, several: str = "") -> str:
    """ "1 series", "2 instances", "12,000 studies"."""
    return f"{how_many:,} {one if how_many == 1 else several or f'{one}s'}"


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number with its unit; what was not measured says so."""
    if value is None:
        return "not measured"
    return f"{value:,.{digits}f} {unit}".strip()


def iso(at: datetime | str) -> str:
    return at if isinstance(at, str) else at.isoformat(timespec="seconds")


def minute(at: datetime | str) -> str:
    """ "2026-03-01 12:00 UTC"."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True)
class Reason:
    """A sentence of the gate, parted behind the series that it begins with; `uid` may be empty."""

    uid: str
    rest: str


_OF_SERIES = re.compile(r"series ([0-9.]+)( .*)", re.DOTALL)


def by_series(sentence: str) -> Reason:
    """So that the page can lead there."""
    found = _OF_SERIES.fullmatch(sentence)
    return Reason(found[1], found[2]) if found else Reason("", sentence)


def tail(text: str) -> str:
    """The end of a UID: the beginnings are alike. Anything else as it stands."""
    return f"…{text[-8:]}" if len(text) > 20 else text


def short(digest: str) -> str:
    """The beginning of a SHA-256, as it stands in logs too."""
    return f"{digest[:12]}…" if len(digest) > 12 else digest
