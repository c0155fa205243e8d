"""A running process reads its configuration again (SIGHUP): what can change does, the rest is told.

Each role applies what it is given to what begins from then on; what is under way ends as it began.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from dicomnode.config import Settings, load
from dicomnode.errors import DicomnodeError
from dicomnode.meters import Meters

log = logging.getLogger("dicomnode.reload")

Apply = Callable[[Settings], None]
Reload = Callable[[Apply], None]

_NOT_RELOADED = "configuration not reloaded, the old one stays: %s"

# Sections and keys that need a restart, of every role: what is listened on, where things lie, and
# what decides a verdict, so that no two roles ever ask for different ones.
FIXED = frozenset(
    {
        "node.data_folder",
        "node.log_format",
        "database",
        "scp.host",
        "scp.port",
        "scp.tls",
        "scp.processes",
        "web.enabled",
        "web.host",
        "web.port",
        "web.tls",
        "series",
        "inference",
        "evidence",
        "verdict",
        "segmentation",
        "jobs",
        "gate.key_file",
        "gate_ae.enabled",
        "gate_ae.host",
        "gate_ae.port",
        "gate_ae.tls",
        "gate_ae.look_again_seconds",
        "retention",
        "notifications",
        "audit_messages",
    }
)


@dataclass(frozen=True)
class Change:
    """What to go on with; `changed` and `kept` name keys, never their values."""

    settings: Settings
    changed: tuple[str, ...]
    kept: tuple[str, ...]


def change(current: Settings, wanted: Settings) -> Change:
    """`wanted`, with those of its keys that need a restart as they are in `current`."""
    sections: dict[str, object] = {}
    changed: list[str] = []
    kept: list[str] = []
    for name in Settings.model_fields:
        before, after = getattr(current, name), getattr(wanted, name)
        keys = _different(name, before, after)
        fixed = [key for key in keys if key in FIXED]
        kept += fixed
        changed += [key for key in keys if key not in FIXED]
        sections[name] = _with(before, after, name, fixed)
    return Change(wanted.model_copy(update=sections), tuple(changed), tuple(kept))


def follow(apply: Apply, settings: Settings) -> None:
    """In a child, whose parent has read the file: what can't be applied here changes nothing."""
    try:
        apply(settings)
    except (DicomnodeError, OSError) as error:
        log.error(_NOT_RELOADED, error)
    else:
        log_as(settings)


def log_as(settings: Settings) -> None:
    """From now on, in this process."""
    logging.getLogger("dicomnode").setLevel(settings.node.log_level)


def never(_apply: Apply) -> None:
    """For a process that is never asked."""


class HasSettings(Protocol):
    """What looks at its settings anew each time."""

    settings: Settings


def with_settings_of(reload: Reload, *others: HasSettings) -> Reload:
    """`reload` that gives the new settings to these, too, once they are applied."""

    def reload_all(apply: Apply) -> None:
        def use(now: Settings) -> None:
            apply(now)
            for other in others:
                other.settings = now

        reload(use)

    return reload_all


class Reloader:
    """Of one process; its loop calls `poll`. A file that is wrong changes nothing."""

    def __init__(self, config: Path | None, settings: Settings, meters: Meters) -> None:
        self._config = config
        self._meters = meters
        self._settings = settings
        self._asked = threading.Event()

    def listen(self) -> None:
        """From now on SIGHUP asks for it, instead of ending the process."""
        signal.signal(signal.SIGHUP, lambda *_: self._asked.set())

    def poll(self, apply: Apply) -> None:
        """Where it was asked for: read, apply, and say what changed and what needs a restart."""
        if not self._asked.is_set():
            return
        self._asked.clear()
        try:
            found = change(self._settings, load(self._config))
            apply(found.settings)
        except (DicomnodeError, OSError) as error:
            self._meters.count("configuration_reloads_total", outcome="refused")
            log.error(_NOT_RELOADED, error)
            return
        self._settings = found.settings
        log_as(found.settings)
        self._meters.count("configuration_reloads_total", outcome="done")
        log.log(
            logging.WARNING if found.kept else logging.INFO,
            "configuration reloaded",
            extra={"changed": found.changed, "needs_restart": found.kept},
        )


def _different(name: str, before: object, after: object) -> list[str]:
    if before == after:
        return []
    if name in FIXED or not (isinstance(before, BaseModel) and isinstance(after, BaseModel)):
        return [name]
    fields = type(after).model_fields
    return [f"{name}.{key}" for key in fields if getattr(before, key) != getattr(after, key)]


def _with(before: object, after: object, name: str, fixed: list[str]) -> object:
    if name in fixed:
        return before
    keys = [key.partition(".")[2] for key in fixed]
    if not keys or not isinstance(after, BaseModel):
        return after
    return after.model_copy(update={key: getattr(before, key) for key in keys})
