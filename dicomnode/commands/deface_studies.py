"""`deface STUDY`: the node makes a copy without faces; asked for here, made by the worker."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence

import typer

from dicomnode.app import copy_tables
from dicomnode.app.copy_tables import CopyStatus
from dicomnode.commands.common import existing_database, require_own_data_folder, show
from dicomnode.config import Settings
from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.domain import OPEN_COPIES
from dicomnode.errors import DefacingError
from dicomnode.tracking import copied_series, study_copies
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesFinding, SeriesState, verdicts_of_study
from dicomnode.tracking.study_copies import StudyCopy

_LOOK_SECONDS = 0.5
_EXAMINED = (SeriesState.EXAMINED, SeriesState.REFUSED, SeriesState.FAILED)


def deface_studies(
    studies: Sequence[str],
    settings: Settings,
    project: str,
    *,
    by: str,
    wait: bool,
    as_json: bool,
) -> None:
    """Exit code 1 where a study can't be copied now, or, with `wait`, its copy is not proven."""
    require_own_data_folder(settings)
    database = existing_database(settings)
    asked, refused = _ask(database, settings, studies, project, by or getpass.getuser())
    found = [_status(database, copy, wait=wait) for copy in asked]
    show(copy_tables.copies(found, refused), {"copies": found, "refused": refused}, as_json)
    if refused or (wait and not all(one.is_proven for one in found)):
        raise typer.Exit(1)


def _ask(
    database: Database, settings: Settings, studies: Sequence[str], project: str, by: str
) -> tuple[list[StudyCopy], dict[str, str]]:
    """The copies, and of the other studies why there is none."""
    from dicomnode.gate.copies import ask_for_copy
    from dicomnode.inference.examiner import installed_examiner

    digest = installed_examiner(settings).digest
    copies, refused = [], {}
    for study in studies:
        try:
            if not is_uid(study):
                raise DefacingError("no Study Instance UID; for folders and files say --out too")
            with database.begin() as connection:
                copies.append(ask_for_copy(connection, study, settings, digest, project, by=by))
        except DefacingError as error:
            refused[study] = str(error)
    return copies, refused


def _status(database: Database, copy: StudyCopy, *, wait: bool) -> CopyStatus:
    """As it stands; with `wait` once it has ended, and all of it was examined."""
    while True:
        with database.read() as connection:
            now = study_copies.load(connection, copy.id)
            series = copied_series.series_of(connection, copy.id)
            found = verdicts_of_study(connection, now.copy_study_instance_uid)
        verdicts = {one.series_instance_uid: one.verdict.kind.value for one in found if one.verdict}
        status = CopyStatus(now, tuple(series), verdicts)
        is_over = now.state not in OPEN_COPIES and _is_examined(found, len(series))
        if is_over or not wait:
            return status
        time.sleep(_LOOK_SECONDS)


def _is_examined(found: Sequence[SeriesFinding], count: int) -> bool:
    return len(found) >= count and all(one.state in _EXAMINED for one in found)
