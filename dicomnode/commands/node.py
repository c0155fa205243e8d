"""`serve`, `scp`, `web`, `work`, `demo`: the node and its roles."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dicomnode import __version__
from dicomnode.app import logs
from dicomnode.app.notify import notify
from dicomnode.commands.common import (
    Config,
    err,
    out,
    progress_bar,
    reload_on_signal,
    say,
    settings_of,
    stop_on_signals,
    this_program,
)
from dicomnode.config import SCPSettings
from dicomnode.config_gate_ae import GateAESettings
from dicomnode.meters import Meters
from dicomnode.tracking.database import Database


def serve(config: Config = None) -> None:
    """Run the node: receive, examine, deliver. Ctrl+C or SIGTERM stop it, SIGHUP reads the
    configuration again.
    """
    from dicomnode.app.supervisor import Supervisor, roles_of

    settings = settings_of(config)
    stop = stop_on_signals()
    Database(settings.database_url).migrate()
    where = f"{settings.scp.ae_title} at {_ports(settings.scp)}"
    if settings.web.enabled:
        where += f" and {settings.web.scheme}://{settings.web.host}:{settings.web.port}"
    if settings.gate_ae.enabled:
        where += f", the gate at {_ports(settings.gate_ae)}"

    def ready() -> None:
        notify("READY=1")
        err.print(f"dicomnode {__version__} listens as {where}. Ctrl+C stops it.", highlight=False)

    supervisor = Supervisor(config, roles_of(settings), stop)
    signal.signal(signal.SIGHUP, lambda *_: supervisor.reload.set())
    supervisor.run(ready)


def _ports(entity: SCPSettings | GateAESettings) -> str:
    """Where associations are accepted."""
    plain, tls = f"{entity.host}:{entity.port}", entity.tls
    if tls is None:
        return plain
    encrypted = f"{entity.host}:{tls.port} (TLS)"
    return encrypted if tls.only else f"{plain} and {encrypted}"


def scp(config: Config = None) -> None:
    """Run only the receiving role (systemd: dicomnode-scp.service)."""
    from dicomnode.scp.server import serve as serve_scp

    settings = settings_of(config)
    stop = stop_on_signals()
    serve_scp(
        settings,
        ready=lambda: notify("READY=1"),
        stop=stop,
        prepare_child=partial(logs.configure, settings.node.log_level, settings.node.log_format),
        alive=lambda: notify("WATCHDOG=1"),
        reload=reload_on_signal(config, settings, meters := Meters()),
        meters=meters,
    )


def web(config: Config = None) -> None:
    """Run only the HTTP role: STOW-RS in, and metrics (systemd: dicomnode-web.service)."""
    from dicomnode.web.server import serve as serve_web

    settings = settings_of(config)
    stop = stop_on_signals()
    serve_web(
        settings,
        ready=lambda: notify("READY=1"),
        stop=stop,
        alive=lambda: notify("WATCHDOG=1"),
        reload=reload_on_signal(config, settings, meters := Meters()),
        meters=meters,
    )


def work(config: Config = None) -> None:
    """Run only the working role: examine and deliver (systemd: dicomnode-work.service)."""
    from dicomnode.app.measured import read_gpus
    from dicomnode.app.sender_counts import count_at_sender
    from dicomnode.app.stages import running_stages
    from dicomnode.audit_trail.forwarder import forwarding
    from dicomnode.delivery.ending import abort_open_associations
    from dicomnode.jobs.worker import work as run_worker
    from dicomnode.notices.teller import start_telling
    from dicomnode.reloading import with_settings_of

    settings = settings_of(config)
    stop = stop_on_signals()
    database = Database(settings.database_url)
    meters = Meters()
    reload = reload_on_signal(config, settings, meters)

    def alive() -> None:
        notify("WATCHDOG=1")
        read_gpus(meters)

    database.migrate()
    teller = start_telling(settings, database, stop)
    with (
        forwarding(settings, database) as forwarder,
        running_stages(settings, meters) as stages,
    ):
        run_worker(
            settings,
            database,
            stages,
            ready=lambda: notify("READY=1"),
            stop=stop,
            alive=alive,
            count_at_sender=count_at_sender,
            reload=with_settings_of(reload, teller, forwarder),
            meters=meters,
        )
    abort_open_associations()
    os._exit(0)  # a thread may wait for its examination; the next worker takes the job up


def demo(
    out_folder: Annotated[
        Path, typer.Option("--out", help="A new folder, or an earlier demo's: that is overwritten.")
    ] = Path("demo-out"),
    send: Annotated[
        Path | None, typer.Option("--send", exists=True, help="Your own DICOM folder.")
    ] = None,
) -> None:
    """The whole node on this machine: a loopback PACS sends heads, SEGs and verdicts come back."""
    from dicomnode.app import tables
    from dicomnode.app.demo import Demo

    with progress_bar() as bar:
        task = bar.add_task("", total=None)
        result = Demo(out_folder, send).run(lambda text: bar.update(task, description=text))
    out.print(tables.demo(result))
    say(tables.places(result, this_program()))
    if not result.complete:
        raise typer.Exit(1)
