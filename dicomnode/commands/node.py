"""`serve`, `scp`, `web`, `work`, `demo`: the node and its roles."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dicomnode import __version__
from dicomnode.app import logs, tables
from dicomnode.app.notify import notify
from dicomnode.commands.common import (
    Config,
    err,
    out,
    progress_bar,
    say,
    settings_of,
    stop_on_signals,
    this_program,
)
from dicomnode.tracking.database import Database


def serve(config: Config = None) -> None:
    """Run the node: receive, examine, deliver. Stops with Ctrl+C or SIGTERM."""
    from dicomnode.app.supervisor import Supervisor, roles_of

    settings = settings_of(config)
    stop = stop_on_signals()
    Database(settings.database_url).migrate()
    where = f"{settings.scp.ae_title} at {settings.scp.host}:{settings.scp.port}"
    if settings.web.enabled:
        where += f" and http://{settings.web.host}:{settings.web.port}"
    if settings.gate_ae.enabled:
        where += f", the gate at {settings.gate_ae.host}:{settings.gate_ae.port}"

    def ready() -> None:
        notify("READY=1")
        err.print(f"dicomnode {__version__} listens as {where}. Ctrl+C stops it.", highlight=False)

    Supervisor(config, roles_of(settings), stop).run(ready)


def scp(config: Config = None) -> None:
    """Run only the receiving role (systemd: dicomnode-scp.service)."""
    from dicomnode.scp.server import serve as serve_scp

    settings = settings_of(config)
    stop = stop_on_signals()
    serve_scp(
        settings,
        ready=lambda: notify("READY=1"),
        stop=stop,
        prepare_child=partial(logs.configure, settings.node.log_level),
        alive=lambda: notify("WATCHDOG=1"),
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
    )


def work(config: Config = None) -> None:
    """Run only the working role: examine and deliver (systemd: dicomnode-work.service)."""
    from dicomnode.app.sender_counts import count_at_sender
    from dicomnode.app.stages import make_stages
    from dicomnode.audit_trail.forwarder import forwarding
    from dicomnode.jobs.retention import start_removing
    from dicomnode.jobs.worker import work as run_worker
    from dicomnode.notices.teller import start_telling

    settings = settings_of(config)
    stop = stop_on_signals()
    database = Database(settings.database_url)
    database.migrate()
    start_telling(settings, database, stop)
    start_removing(settings, database, stop)
    with forwarding(settings, database):
        run_worker(
            settings,
            database,
            make_stages(settings),
            ready=lambda: notify("READY=1"),
            stop=stop,
            alive=lambda: notify("WATCHDOG=1"),
            count_at_sender=count_at_sender(settings),
        )
    os._exit(0)  # a network can't be interrupted; its job is taken up by the next worker


def demo(
    out_folder: Annotated[
        Path, typer.Option("--out", help="A new folder, or an earlier demo's: that is overwritten.")
    ] = Path("demo-out"),
    send: Annotated[
        Path | None, typer.Option("--send", exists=True, help="Your own DICOM folder.")
    ] = None,
) -> None:
    """The whole node on this machine: a loopback PACS sends heads, SEGs and verdicts come back."""
    from dicomnode.app.demo import Demo

    with progress_bar() as bar:
        task = bar.add_task("", total=None)
        result = Demo(out_folder, send).run(lambda text: bar.update(task, description=text))
    out.print(tables.demo(result))
    say(tables.places(result, this_program()))
    if not result.complete:
        raise typer.Exit(1)
