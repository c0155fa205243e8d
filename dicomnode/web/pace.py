"""How long the body of a request is waited for: a client that crawls must not hold its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

# A modem's pace. Only waiting counts, not the time in which what came is made durable.
SLOWEST_BYTES_PER_SECOND = 10_000

T = TypeVar("T")


class Pace:
    """`idle_seconds` for each piece, and for all of them together as long again as their length
    takes at the slowest pace that is accepted."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._left_seconds = idle_seconds

    async def wait_for(self, piece: Awaitable[T]) -> T:
        """Raises `TimeoutError`."""
        began = time.monotonic()
        async with asyncio.timeout(min(self._idle_seconds, self._left_seconds)):
            found = await piece
        self._left_seconds -= time.monotonic() - began
        return found

    def came(self, length_bytes: int) -> None:
        self._left_seconds += length_bytes / SLOWEST_BYTES_PER_SECOND

    def __str__(self) -> str:
        return (
            f"nothing came for {self._idle_seconds:g} s, or less than "
            f"{SLOWEST_BYTES_PER_SECOND} bytes in a second"
        )
