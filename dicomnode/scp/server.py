"""Start and stop receiving: one process, or several (`children`); rows follow the spool."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dicomnode.config import Settings
from dicomnode.dimse.listener import doors
from dicomnode.intake.running import keeping_rows, new_receiver, open_
from dicomnode.meters import Meters
from dicomnode.reloading import Reload, never
from dicomnode.scp.children import Supervisor
from dicomnode.scp.process import receive


def _nothing() -> None:
    return


def serve(
    settings: Settings,
    *,
    ready: Callable[[], None],
    stop: threading.Event,
    prepare_child: Callable[[], None] = _nothing,
    alive: Callable[[], None] = _nothing,
    reload: Reload = never,
    meters: Meters | None = None,
) -> None:
    """Receive until `stop` is set; returns when open associations have ended or were aborted.

    `ready` is called once associations are accepted, and then `alive` again and again while every
    thread and process that receiving needs is at work. `prepare_child` runs first in each child
    process (logging); it must be importable by name. `reload` brings new settings: for what begins
    from then on, while open associations go on. Raises `PortInUseError`, `DatabaseError`, and
    `DicomnodeError` when a thread died.
    """
    with doors(settings.scp, "scp") as opened:
        database, spool = open_(settings)
        spool.remove_abandoned()
        living: set[str] = set()
        with keeping_rows(database, spool, living, is_receiver=True):
            if settings.scp.processes == 1:
                receiver_id = new_receiver(living)
                receive(
                    settings,
                    opened,
                    receiver_id,
                    ready=ready,
                    alive=alive,
                    stop=stop,
                    reload=reload,
                    meters=meters,
                )
            else:
                supervisor = Supervisor(settings, opened, prepare_child, living, meters or Meters())
                supervisor.run(ready, alive, stop, reload)
        database.close()
