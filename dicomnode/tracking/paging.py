"""Pages of lists: where the next one begins, and counts that stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

MOST_COUNTED = 1000


@dataclass(frozen=True)
class CappedCount:
    """As many as that, or more where `is_more`: nobody waits for a walk over a million rows."""

    count: int
    is_more: bool = False

    def __str__(self) -> str:
        return f"more than {self.count:,}" if self.is_more else f"{self.count:,}"


def capped(c: sa.Connection, matching: sa.Select[Any]) -> CappedCount:
    """How many rows the query has, without counting on after `MOST_COUNTED`."""
    some = matching.order_by(None).limit(MOST_COUNTED + 1).subquery()
    found = c.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    return CappedCount(min(found, MOST_COUNTED), found > MOST_COUNTED)
