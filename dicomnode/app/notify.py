"""The sd_notify protocol (systemd.exec(5), sd_notify(3)): ready, alive, stopping.

The same datagrams serve systemd and `dicomnode serve`, which starts the roles as its children.
"""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send one state line such as `READY=1` to whoever started us; nobody listening is fine."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        try:
            channel.sendto(state.encode("utf-8"), address)
        except OSError:  # the listener is gone or doesn't read; that must not stop a role
            return
