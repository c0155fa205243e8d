"""Ports for servers of tests, from below those that the system hands out to clients: whoever
connects somewhere between the choice and the server's start does not take them."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

_FIRST, _LAST = 15_000, 32_000


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    chance = random.SystemRandom()
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = chance.randint(_FIRST, _LAST)
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
    return ports
