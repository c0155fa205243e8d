"""`dicomnode serve`: the roles as child processes on one machine, without systemd.

Each role is the same command that its systemd unit runs. A role that dies is started again, after
a pause that grows with each death; a role that does not start at first ends the node.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dicomnode.config import Settings
from dicomnode.errors import ConfigurationError

log = logging.getLogger("dicomnode.serve")

PROGRAM = (sys.executable, "-m", "dicomnode.cli")
_LONGEST_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 60.0
_STOP_SECONDS = 35.0  # what a receiver takes at most
_PR_SET_PDEATHSIG = 1


@dataclass
class Role:
    """One child process and what the supervisor remembers of it."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    start_again_at: float = 0.0
    stable_at: float = 0.0

    def start(self) -> None:
        self.stable_at = time.monotonic() + _STABLE_SECONDS
        self.process = subprocess.Popen(
            self.command, env=self.environment, preexec_fn=_die_with_parent
        )

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _die_with_parent() -> None:
    """In the child: be killed when the supervisor is (prctl(2)).

    A role that outlived a killed supervisor would keep the port, and the next start would fail.
    Being killed at any moment is what the roles are built for. A role that is asked to reload
    before it listens for that goes on with what it reads anyway.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Supervisor:
    """Starts the roles, waits until each is ready, keeps them running, stops them in order.

    `reload` passes SIGHUP on to each of them. `program` is what takes the name of a role; a killed
    one pauses for `longest_pause_seconds` at most.
    """

    config: Path | None
    roles: tuple[str, ...]
    stop: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)
    program: Sequence[str] = PROGRAM
    longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS

    def run(self, ready: Callable[[], None]) -> None:
        """Blocks until `stop` is set. Raises `ConfigurationError` when a role refuses to start."""
        with tempfile.TemporaryDirectory(prefix="dicomnode-") as folder:
            channel = _listen(Path(folder) / "notify")
            roles = [self._role(name, Path(folder) / "notify") for name in self.roles]
            try:
                for role in roles:
                    role.start()
                self._wait_until_ready(roles, channel)
                ready()
                while not self.stop.is_set():
                    _heard(channel)
                    for role in roles:
                        _restart_when_dead(role, self.longest_pause_seconds)
                    if self.reload.is_set():
                        self.reload.clear()
                        _reload(roles)
            finally:
                _stop(roles)
                channel.close()

    def _role(self, name: str, channel: Path) -> Role:
        command = [*self.program, *name.split()]
        if self.config is not None:
            command += ["--config", str(self.config)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHDOG_")}
        return Role(name, command, environment | {"NOTIFY_SOCKET": str(channel)})

    def _wait_until_ready(self, roles: Sequence[Role], channel: socket.socket) -> None:
        waiting = len(roles)
        while waiting and not self.stop.is_set():
            for role in roles:
                if not role.is_running():
                    raise ConfigurationError(f"role {role.name} did not start; see above why")
            waiting -= _heard(channel) == b"READY=1"


def roles_of(settings: Settings) -> tuple[str, ...]:
    """What takes in objects comes first; each is a command of that name."""
    enabled = {"web": settings.web.enabled, "gate serve": settings.gate_ae.enabled}
    return ("scp", *(role for role, is_on in enabled.items() if is_on), "work")


def _listen(path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(path))
    channel.settimeout(0.2)
    return channel


def _heard(channel: socket.socket) -> bytes:
    """The next state that a role tells us; waits a moment, and is empty when none does."""
    try:
        return channel.recv(4096)
    except TimeoutError:
        return b""


def _restart_when_dead(role: Role, longest_pause_seconds: float) -> None:
    """A role that refuses to start now (a changed model, say) must not take the others with it."""
    if role.is_running():
        return
    assert role.process is not None
    if role.start_again_at == 0.0:
        role.deaths = role.deaths + 1 if time.monotonic() < role.stable_at else 1
        pause = min(2.0 ** (role.deaths - 1) * 0.5, longest_pause_seconds)
        role.start_again_at = time.monotonic() + pause
        log.error("role died", extra={"role": role.name, "exit_code": role.process.returncode})
    elif time.monotonic() >= role.start_again_at:
        role.start_again_at = 0.0
        role.start()


def _reload(roles: Sequence[Role]) -> None:
    """Each reads the configuration for itself, and says in the log what it made of it."""
    for role in roles:
        if role.process is not None and role.is_running():
            role.process.send_signal(signal.SIGHUP)


def _stop(roles: Sequence[Role]) -> None:
    """Receivers first, so that nothing new comes in while the worker hands its work back."""
    for role in roles:
        if role.process is not None and role.is_running():
            role.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for role in roles:
        if role.process is None:
            continue
        try:
            role.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("role did not stop in time and is killed", extra={"role": role.name})
            role.process.kill()
            role.process.wait()
