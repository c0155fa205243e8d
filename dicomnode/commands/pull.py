"""`pull`: studies from a PACS that does not send them by itself."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.app import tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    progress_bar,
    quiet_settings,
    require_own_data_folder,
    say,
    show,
    this_program,
)
from dicomnode.config import Settings, SourceSettings
from dicomnode.errors import ConfigurationError
from dicomnode.tracking import pulls
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulls import Pull, PullSummary

if TYPE_CHECKING:
    from dicomnode.retrieval.backfill import Pace

_STOPPING = b"\nstopping after this study, or in 30 s; once more stops at once. --resume goes on.\n"
# What is in flight then stays pending; services are killed not much later.
_LONGEST_STOP_SECONDS = 30.0


def pull(
    source_name: Annotated[str, typer.Option("--from", help="Which of the configured sources.")],
    study: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="A study; may be repeated.")
    ] = None,
    studies: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A file with one UID a line, # comments."),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Studies that match: StudyDate=20240101-20240131"),
    ] = None,
    query_file: Annotated[
        typer.FileText | None,
        typer.Option(encoding="utf-8", help="KEY=VALUE lines, such as PatientID=...; - for stdin."),
    ] = None,
    more_keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="More keys of --query.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is pending, and what failed.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Take these studies off the list, ask nobody.")
    ] = False,
    per_minute: Annotated[
        float | None, typer.Option(min=0.01, help="Default: pull.studies_per_minute.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Fetch studies from a PACS: C-FIND with C-MOVE or C-GET, or DICOMweb. 0: all are here."""
    from dicomnode.retrieval import find
    from dicomnode.retrieval.backfill import Pace

    settings = quiet_settings(config)
    require_own_data_folder(settings)
    source = find.source_named(settings, source_name)
    uids = find.checked_uids(study or [])
    if studies is not None:
        uids += find.listed_uids(studies)
    if forget:
        _forget(settings, source, uids)
        return
    keys = find.visible_query_keys([*(query or []), *(more_keys or [])])
    if query_file is not None:
        keys |= find.listed_query_keys(query_file)
    if keys:
        uids += find.matching_studies(source, settings, keys)
    if not uids and not resume:
        raise ConfigurationError(
            "say which studies: --study, --studies, --query, --query-file or --resume"
        )
    database = Database(settings.database_url)
    database.migrate()
    waiting = _on_the_list(database, settings, source, uids, resume)
    with _stopping() as stop:
        pace = Pace(per_minute or settings.pull.studies_per_minute, stop)
        _run(waiting, source, settings, database, pace)
    summary = _summary(database, settings, source, waiting)
    show(tables.pulls(summary, _again(source, config)), summary, as_json)
    if not summary.is_complete:
        raise typer.Exit(1)


def _forget(settings: Settings, source: SourceSettings, uids: list[str]) -> None:
    """Of a study that was asked for at a wrong source, or that is not wanted any more."""
    if not uids:
        raise ConfigurationError("say which studies to forget: --study or --studies")
    database = Database(settings.database_url)
    database.migrate()
    with database.begin() as connection:
        forgotten = pulls.forget(connection, source.name, uids)
    say(f"{forgotten} of {len(set(uids))} studies were on the list of {source.name}: forgotten")
    if forgotten < len(set(uids)):
        raise typer.Exit(1)


def _on_the_list(
    database: Database, settings: Settings, source: SourceSettings, uids: list[str], resume: bool
) -> list[Pull]:
    """The rows that this run works on, written before anything is asked for."""
    with database.begin() as connection:
        pulls.ask(connection, source.name, uids)
        if resume:
            return pulls.unfinished(connection, source.name, settings.pull.attempts)
        return pulls.named(connection, source.name, uids)


def _run(
    waiting: Sequence[Pull],
    source: SourceSettings,
    settings: Settings,
    database: Database,
    pace: Pace,
) -> None:
    from dicomnode.retrieval.backfill import pull_all
    from dicomnode.retrieval.study import study_puller

    if not waiting:
        return
    with study_puller(source, settings, database) as puller, progress_bar() as bar:
        task = bar.add_task(f"studies from {source.name}", total=len(waiting))
        pull_all(waiting, puller, database, pace, lambda _uid: bar.advance(task))


def _summary(
    database: Database, settings: Settings, source: SourceSettings, waiting: Sequence[Pull]
) -> PullSummary:
    uids = [pull.study_instance_uid for pull in waiting]
    with database.read() as connection:
        ended = pulls.named(connection, source.name, uids)
        given_up = pulls.given_up(connection, source.name, settings.pull.attempts)
        unfinished = len(pulls.unfinished(connection, source.name, settings.pull.attempts))
    return PullSummary(source.name, tuple(ended), given_up, unfinished)


def _again(source: SourceSettings, config: Path | None) -> str:
    """The command that goes on, with the configuration of this one."""
    options = "" if config is None else f" --config {shlex.quote(str(config))}"
    return f"{this_program()} pull --from {source.name} --resume{options}"


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Set by Ctrl+C and SIGTERM; the second one, and 30 s, raise `KeyboardInterrupt`."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        signal.setitimer(signal.ITIMER_REAL, _LONGEST_STOP_SECONDS)
        os.write(2, _STOPPING)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        if stop.is_set():
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)
