"""Listening sockets, and what is wrong where one can't be had."""

from __future__ import annotations

import errno
import socket

from dicomnode.errors import ConfigurationError, PortInUseError

_BACKLOG = 128


def listen(host: str, port: int, section: str = "scp") -> socket.socket:
    """A listening socket that can be handed to child processes; `section` is the configuration's.

    Raises `PortInUseError`, or `ConfigurationError` where the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigurationError(
            f"{section}.host: {host!r} is no address: {error.strerror}"
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _explained(error, host, port, section) from None
    # All processes wake up for a connection and one gets it: the others must not block.
    listener.setblocking(False)
    return listener


def _explained(error: OSError, host: str, port: int, section: str) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(
            f"port {port} on {host} is used by another process: stop it, or set {section}.port "
            "to another port"
        )
    if error.errno == errno.EACCES:
        return ConfigurationError(
            f"port {port} on {host} may not be opened by this user: choose one above 1023, or "
            "give the service CAP_NET_BIND_SERVICE"
        )
    return ConfigurationError(f"{section}.host {host}, {section}.port {port}: {error.strerror}")
