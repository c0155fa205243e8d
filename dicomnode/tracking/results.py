"""The files that examinations made: SEGs and pictures, in one folder for each series."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from dicomnode.tracking.examinations import PICTURES
from dicomnode.tracking.schema import examinations, segmentations, volumes
from dicomnode.tracking.spool import short_name


def remove_results(
    c: sa.Connection, series_id: int, series_instance_uid: str, folder: Path
) -> None:
    """Every SEG and picture of a series, of whichever examination; raises `OSError`.

    Nothing outside of `folder` is touched, whatever a row says. May be repeated.
    """
    root = folder.resolve()
    for path in _files(c, series_id):
        if path.resolve().is_relative_to(root):
            path.unlink(missing_ok=True)
    remove_folder(series_instance_uid, folder)


def remove_folder(series_instance_uid: str, folder: Path) -> None:
    """What lies in the folder of a series; raises `OSError`."""
    of_series = folder / short_name(series_instance_uid)
    if of_series.is_dir():
        shutil.rmtree(of_series)


def _files(c: sa.Connection, series_id: int) -> Iterator[Path]:
    of_it = examinations.c.series_id == series_id
    query = (
        sa.select(volumes.c.pictures, segmentations.c.path)
        .join(examinations, examinations.c.id == volumes.c.examination_id)
        .outerjoin(segmentations, segmentations.c.volume_id == volumes.c.id)
        .where(of_it)
    )
    for row in c.execute(query):
        if row.path is not None:
            yield Path(row.path)
        yield from (picture.path for picture in PICTURES.validate_python(row.pictures))
