"""`export`: released studies leave, for a folder or a research archive; `exports`: the ledger."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.app import export_tables
from dicomnode.commands.common import (
    AsJson,
    Config,
    err,
    existing_database,
    out,
    progress_bar,
    quiet_settings,
    require_own_data_folder,
    show,
)
from dicomnode.config import Settings
from dicomnode.domain import as_json
from dicomnode.errors import ConfigurationError, ExportError

if TYPE_CHECKING:
    from dicomnode.export.place import Destination
    from dicomnode.export.study import Exporter, StudyResult

HELD, FAILED = 3, 1
_LONGEST_DESTINATION = 255

app = typer.Typer(no_args_is_help=True, help="The export ledger: what left, when, to whom.")


def export(
    project: Annotated[str, typer.Option("--project", "-p", help="Whose policy decides.")],
    to: Annotated[str, typer.Option("--to", help="A folder, or the name of one of [[archives]].")],
    studies: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A file, one Study Instance UID a line."),
    ] = None,
    all_released: Annotated[
        bool, typer.Option("--all-released", help="Every study that may leave now.")
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Your account; default: your login.")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Also what left under the same receipt before.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
    config: Config = None,
) -> None:
    """Let released studies out. 0: everything left; 3: something is held; 1: something failed.

    Start it again with the same arguments to go on where it was stopped.
    """
    from dicomnode.export.run import export_all

    if (studies is None) is not all_released:
        raise ExportError("say which studies: either --studies FILE or --all-released")
    settings = quiet_settings(config)
    require_own_data_folder(settings)
    with _destination(settings, to) as destination:
        exporter, uids, count = _prepared(settings, project, destination, by, studies, again)
        with _telling(json_, count) as tell:
            summary = export_all(exporter, uids, tell)
    if json_:
        print(json.dumps(as_json(summary)))
    else:
        out.print(export_tables.summary(summary))
    if summary.has_failed:
        raise typer.Exit(FAILED)
    if summary.holds:
        raise typer.Exit(HELD)


@app.command("list")
def list_(
    study: Annotated[str | None, typer.Option(help="Only of this Study Instance UID.")] = None,
    project: Annotated[str | None, typer.Option("--project", "-p")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Only to this destination.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 100,
    before: Annotated[int | None, typer.Option(help="The next page: the last id seen.")] = None,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """What left, when, to whom, under which receipt, by whom: one entry for each study."""
    from dicomnode.tracking import exports

    with existing_database(quiet_settings(config)).read() as connection:
        found = exports.newest(
            connection,
            limit,
            before=before,
            study_instance_uid=study,
            project=project,
            destination=to,
        )
    show(export_tables.ledger(found), found, json_)


@app.command("show")
def show_(
    number: Annotated[int, typer.Argument(help="The id that `exports list` tells.")],
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """One entry with every instance that left."""
    from dicomnode.tracking import exports

    with existing_database(quiet_settings(config)).read() as connection:
        found = exports.one(connection, number)
        if found is None:
            raise ExportError(f"there is no entry {number} in the ledger (exports list)")
        left = exports.instances_of(connection, number, limit=max(found.left_count, 1))
    value = {"study": found, "instances": left}
    show(export_tables.entry(found, left), value, json_)


def _prepared(
    settings: Settings,
    project: str,
    destination: Destination,
    by: str,
    listed: Path | None,
    again: bool,
) -> tuple[Exporter, Iterable[str], int]:
    """What exports, which studies, and how many those are at most."""
    from dicomnode.export.run import released
    from dicomnode.export.study import Exporter
    from dicomnode.gate.keys import private_key
    from dicomnode.gate.policy import policy_of
    from dicomnode.gate.release import Exit
    from dicomnode.inference.examiner import ExaminerInUse
    from dicomnode.retrieval.find import listed_uids
    from dicomnode.tracking.account_names import account_name
    from dicomnode.tracking.spool import Spool
    from dicomnode.tracking.status import count_studies

    if settings.gate.key_file is None:
        raise ConfigurationError(
            "gate.key_file: nothing leaves without a receipt, and nothing signs one: "
            "dicomnode gate keygen FILE"
        )
    key, account = private_key(settings.gate.key_file), account_name(by or getpass.getuser())
    database, policy = existing_database(settings), policy_of(settings, project)
    examiner = ExaminerInUse(settings)
    examiner.now()  # networks that can't be used are told before anything begins
    if policy.unknown:
        raise ConfigurationError(policy.unknown)
    exit_ = Exit(database, key, policy, examiner.wanted_digest, destination.name, account)
    exporter = Exporter(exit_, destination, database, Spool(settings.spool_folder), again)
    if listed is not None:
        uids = list(dict.fromkeys(listed_uids(listed)))
        return exporter, uids, len(uids)
    with database.read() as connection:
        count = count_studies(connection)
    return exporter, released(database, policy, examiner.wanted_digest), count


@contextmanager
def _destination(settings: Settings, to: str) -> Iterator[Destination]:
    """An archive by its name; else a folder. A misspelt name must not become a folder."""
    from dicomnode.export.archive import ArchiveDestination
    from dicomnode.export.folder import alone_in

    for archive in settings.archives:
        if archive.name == to:
            yield ArchiveDestination(archive, settings.scp.ae_title)
            return
    folder = Path(to).resolve()
    if re.fullmatch(r"[\w-]+", to) and not folder.is_dir():
        known = ", ".join(archive.name for archive in settings.archives) or "none"
        raise ConfigurationError(
            f"no [[archives]] block is named {to!r} (configured: {known}); a new folder is "
            f"written as ./{to}"
        )
    if folder.is_relative_to(settings.node.data_folder.resolve()):
        raise ExportError(f"{folder}: this is in the node's own node.data_folder")
    if len(str(folder)) > _LONGEST_DESTINATION:
        raise ExportError(f"{folder}: longer than {_LONGEST_DESTINATION} characters")
    with alone_in(folder) as destination:
        yield destination


@contextmanager
def _telling(as_lines: bool, count: int) -> Iterator[Callable[[StudyResult], None]]:
    """A progress bar for people, lines for programs."""
    if as_lines:
        yield lambda result: print(json.dumps(as_json(result)), flush=True)
        return
    with progress_bar() as bar:
        task = bar.add_task("studies", total=count)

        def tell(result: StudyResult) -> None:
            bar.advance(task)
            if result.reasons:
                err.print(export_tables.result(result))

        yield tell
