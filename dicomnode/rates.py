"""How often somebody may ask: a token bucket for each key, in memory, for so many keys at most."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address, ip_network

_MOST_KEYS = 10_000


def address_key(address: str) -> str:
    """One key for all addresses that one household or ward has: of IPv6 the first 64 bits."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ip_network((parsed, 64), strict=False))


class Rates:
    """So many a minute for each key, and as many at once after a pause. Safe between threads."""

    def __init__(
        self,
        per_minute: float,
        *,
        most_keys: int = _MOST_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_minute / 60
        self._burst = float(per_minute)
        self._most_keys = most_keys
        self._clock = clock
        self._lock = threading.Lock()
        # Of each key what is left, and when that was. Whoever asked longest ago is forgotten first.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, key: str) -> float:
        """0 where it may pass, which is counted; else how long until the next may."""
        return self._seconds(key, 1)

    def seconds_left(self, key: str) -> float:
        """As `seconds_to_wait`, and nothing is counted."""
        return self._seconds(key, 0)

    def _seconds(self, key: str, taken: int) -> float:
        now = self._clock()
        with self._lock:
            left, then = self._left.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - then) * self._per_second)
            passes = left >= 1
            self._left[key] = (left - taken if passes else left, now)
            if len(self._left) > self._most_keys:
                self._left.popitem(last=False)
        return 0.0 if passes else (1 - left) / self._per_second
