"""A disk that is not mounted must not look like a node that has received nothing."""

from __future__ import annotations

import sqlalchemy as sa

from dicomnode.errors import SpoolError
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import instances
from dicomnode.tracking.spool import Spool


def prepare(database: Database, spool: Spool) -> None:
    """Make the folders of the spool where they are missing; raises as `require`, and then nothing
    is made: the next start finds the disk or says the same."""
    require(database, spool)
    spool.prepare()


def require(database: Database, spool: Spool) -> None:
    """Raises `SpoolError` where there are no folders although the database knows of files in
    them."""
    if not spool.is_made() and _knows_files(database):
        raise SpoolError(
            f"{spool.objects_folder}: not there, and the database knows of objects in it: mount "
            "the disk, or restore the files; to go on without them make that folder yourself"
        )


def _knows_files(database: Database) -> bool:
    has_file = sa.exists().where(instances.c.removed_at.is_(None))
    with database.read() as connection:
        return bool(connection.scalar(sa.select(has_file)))
