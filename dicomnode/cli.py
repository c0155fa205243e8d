"""The commands: each reads the configuration, wires the parts together and prints.

Start reading here. Nothing below this module prints, and nothing above it exists.
Exit codes: 0 done, 1 something could not be done, 2 refused to start; `gate` has its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dicomnode import __version__
from dicomnode.app import logs, tables
from dicomnode.app.notify import keep_watchdog_fed, notify
from dicomnode.config import Settings, load
from dicomnode.domain import GateOutcome, as_json
from dicomnode.errors import ConfigurationError, DicomnodeError, ModelError, PortInUseError

REFUSED_TO_START = 2
DEFAULT_CONFIG = Path("config.toml")
GATE_EXIT_CODES = {GateOutcome.RELEASE: 0, GateOutcome.HOLD: 3, GateOutcome.UNKNOWN_STUDY: 4}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A DICOM node that says which studies are truly defaced.",
)
jobs_app = typer.Typer(no_args_is_help=True, help="What waits, runs and failed.")
models_app = typer.Typer(no_args_is_help=True, help="The networks, pinned by SHA-256.")
train_app = typer.Typer(no_args_is_help=True, help="Train the starter networks, or your own.")
database_app = typer.Typer(no_args_is_help=True, help="The tracking database.")
app.add_typer(jobs_app, name="jobs")
app.add_typer(models_app, name="models")
app.add_typer(train_app, name="train")
app.add_typer(database_app, name="db")

out = Console()
err = Console(stderr=True)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Default: ./config.toml if it is there, else built-in values."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


def main() -> None:
    """The entry point: every foreseen error becomes one clear message and an exit code."""
    try:
        app()
    except (ConfigurationError, PortInUseError, ModelError) as error:
        _fail(error, REFUSED_TO_START)
    except DicomnodeError as error:
        _fail(error, 1)


def _fail(error: DicomnodeError, code: int) -> NoReturn:
    err.print(f"[bold red]dicomnode:[/] {tables.escape(str(error))}", highlight=False)
    sys.exit(code)


# --- the node and its roles ----------------------------------------------------------------


@app.command()
def serve(config: Config = None) -> None:
    """Run the node: receive, examine, deliver. Stops with Ctrl+C or SIGTERM."""
    from dicomnode.app.supervisor import Supervisor

    settings = _settings(config)
    stop = _stop_on_signals()
    _database(settings).migrate()
    where = f"{settings.scp.ae_title} at {settings.scp.host}:{settings.scp.port}"

    def ready() -> None:
        notify("READY=1")
        err.print(f"dicomnode {__version__} listens as {where}. Ctrl+C stops it.", highlight=False)

    Supervisor(config, stop).run(ready)


@app.command()
def scp(config: Config = None) -> None:
    """Run only the receiving role (systemd: dicomnode-scp.service)."""
    from dicomnode.scp.server import serve as serve_scp

    settings = _settings(config)
    stop = _stop_on_signals()
    _database(settings).migrate()
    keep_watchdog_fed(stop)
    serve_scp(settings, ready=lambda: notify("READY=1"), stop=stop)


@app.command()
def work(config: Config = None) -> None:
    """Run only the working role: examine and deliver (systemd: dicomnode-work.service)."""
    from dicomnode.app.stages import make_stages
    from dicomnode.jobs.worker import work as run_worker

    settings = _settings(config)
    stop = _stop_on_signals()
    database = _database(settings)
    database.migrate()
    finished = run_worker(
        settings,
        database,
        make_stages(settings),
        ready=lambda: notify("READY=1"),
        stop=stop,
        alive=lambda: notify("WATCHDOG=1"),
    )
    if not finished:  # a network can't be interrupted; its job is taken up by the next worker
        os._exit(0)


# --- without a network -----------------------------------------------------------------------


@app.command()
def examine(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Folders or files.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the masks go.")],
    config: Config = None,
) -> None:
    """Examine DICOM folders or NIfTI files: masks, and one JSON line of evidence per series."""
    from dicomnode.app import batch
    from dicomnode.inference.models import load_manifest, models_folder
    from dicomnode.inference.nnunet import load_networks

    settings = _settings(config, "WARNING")
    models = load_manifest(models_folder(settings.inference.models_folder))
    out_folder.mkdir(parents=True, exist_ok=True)
    with _progress() as bar, (out_folder / "results.jsonl").open("w", encoding="utf-8") as results:
        task = bar.add_task("looking for series", total=None)
        found = batch.find(paths, lambda files: bar.advance(task, files))
        bar.update(task, description="loading the networks")
        networks = load_networks(models, settings.inference)
        total = len(found.revisions) + len(found.nifti) + len(found.unreadable)
        bar.reset(task, total=total)

        def report(line: dict[str, Any]) -> None:
            text = json.dumps(line, ensure_ascii=True)
            results.write(text + "\n")
            results.flush()
            print(text, flush=True)
            bar.advance(task)

        def stage(text: str) -> None:
            bar.update(task, description=text)

        tally = batch.examine_all(found, networks, settings, out_folder, report, stage)
    err.print(
        f"{tally.examined} examined, {tally.refused} refused, {tally.failed} failed; "
        f"masks and results.jsonl are in {out_folder}",
        highlight=False,
    )
    if not tally.complete:
        raise typer.Exit(1)


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="A new folder.")] = Path("demo-out"),
    send: Annotated[
        Path | None, typer.Option("--send", exists=True, help="Your own DICOM folder.")
    ] = None,
) -> None:
    """The whole node on this machine: a loopback PACS sends heads, SEGs and verdicts come back."""
    from dicomnode.app.demo import Demo

    with _progress() as bar:
        task = bar.add_task("", total=None)
        result = Demo(out_folder, send).run(lambda text: bar.update(task, description=text))
    out.print(tables.demo(result))
    out.print(tables.places(result), highlight=False)
    if not result.complete:
        raise typer.Exit(1)


# --- questions -------------------------------------------------------------------------------


@app.command()
def status(
    uid: Annotated[str | None, typer.Argument(help="A Study or Series Instance UID.")] = None,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """What the node knows: studies, series, verdicts with reasons, deliveries."""
    from dicomnode.tracking.status import studies_status, study_status

    with _existing_database(_settings(config, "WARNING")).read() as connection:
        if uid is None:
            studies = studies_status(connection)
        else:
            one = study_status(connection, uid)
            studies = (one,) if one else ()
    if uid is not None and not studies:
        raise DicomnodeError(f"{uid}: no study and no series of this UID was received")
    _print(tables.status(studies), studies, json_)


@app.command()
def gate(
    study_uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """May this study leave? Exit code 0 release, 3 hold, 4 unknown study."""
    from dicomnode.gate.decision import decide
    from dicomnode.tracking.findings import verdicts_of_study

    settings = _settings(config, "WARNING")
    with _existing_database(settings).read() as connection:
        decision = decide(study_uid, verdicts_of_study(connection, study_uid), settings.gate)
    _print(tables.gate(decision), decision, json_)
    raise typer.Exit(GATE_EXIT_CODES[decision.outcome])


@app.command()
def check(config: Config = None) -> None:
    """Does everything work: configuration, port, destinations, models, device, disk, database?"""
    from dicomnode.app.checkup import examine_site

    findings = examine_site(_settings(config, "WARNING"))
    out.print(tables.findings(findings))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


# --- jobs ------------------------------------------------------------------------------------


@jobs_app.command("list")
def jobs_list(
    everything: Annotated[bool, typer.Option("--all", help="The done ones too.")] = False,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """Every job that waits, runs or failed."""
    from dicomnode.jobs.engine import list_jobs

    database = _existing_database(_settings(config, "WARNING"))
    found = list_jobs(database, everything=everything)
    _print(tables.jobs(found), found, json_)


@jobs_app.command("retry")
def jobs_retry(job: str, config: Config = None) -> None:
    """Run a failed job again."""
    from dicomnode.jobs.engine import retry

    settings = _settings(config, "WARNING")
    retry(settings, _existing_database(settings), job)
    out.print(f"{job} is queued again", highlight=False)


@jobs_app.command("cancel")
def jobs_cancel(job: str, config: Config = None) -> None:
    """Stop a job that waits; a step that runs is finished first."""
    from dicomnode.jobs.engine import cancel

    cancel(_existing_database(_settings(config, "WARNING")), job)
    out.print(f"{job} is cancelled", highlight=False)


# --- models ----------------------------------------------------------------------------------


@models_app.command("list")
def models_list(json_: AsJson = False, config: Config = None) -> None:
    """The networks that the manifest pins."""
    from dicomnode.inference.models import load_manifest, models_folder

    models = load_manifest(models_folder(_settings(config, "WARNING").inference.models_folder))
    _print(tables.models(models), models, json_)


@models_app.command("verify")
def models_verify(config: Config = None) -> None:
    """Compare every model file with the SHA-256 that the manifest pins."""
    from dicomnode.inference.models import load_manifest, models_folder, verify

    for model in load_manifest(models_folder(_settings(config).inference.models_folder)):
        verify(model)
        out.print(f"{model.identity.name}: as pinned, {model.identity.sha256}", highlight=False)


@models_app.command("pin")
def models_pin(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)]) -> None:
    """Write manifest.json for the networks in a folder, each with its card.json."""
    from dicomnode.inference.models import pin

    for model in pin(folder):
        out.print(f"{model.identity.name}: pinned, {model.identity.sha256}", highlight=False)


# --- database --------------------------------------------------------------------------------


@database_app.command("migrate")
def db_migrate(config: Config = None) -> None:
    """Create the tables, or bring them to this version."""
    _database(_settings(config)).migrate()


@database_app.command("rebuild")
def db_rebuild(config: Config = None) -> None:
    """Make the rows that are missing for objects in the spool."""
    from dicomnode.dicom.file_format import read_received
    from dicomnode.tracking.rebuild import reconcile
    from dicomnode.tracking.spool import Spool

    settings = _settings(config)
    database = _database(settings)
    database.migrate()
    added = reconcile(database, Spool(settings.spool_folder), read_received)
    out.print(f"{added} rows made from the spool", highlight=False)


# --- shared ----------------------------------------------------------------------------------


def _settings(config: Path | None, log_level: str | None = None) -> Settings:
    if config is None and DEFAULT_CONFIG.is_file():
        config = DEFAULT_CONFIG
    settings = load(config)
    logs.configure(log_level or settings.node.log_level)
    return settings


def _database(settings: Settings) -> Any:
    from dicomnode.tracking.database import Database

    return Database(settings.database_url)


def _existing_database(settings: Settings) -> Any:
    """For questions: a wrong path must not look like a node that received nothing."""
    database = _database(settings)
    if not database.check().is_current:
        raise DicomnodeError("the database has another schema version: dicomnode db migrate")
    return database


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _print(table: object, value: object, as_document: bool) -> None:
    if as_document:
        print(json.dumps(as_json(value), indent=2))
    else:
        out.print(table)


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err) as bar:
        yield bar


if __name__ == "__main__":
    main()
