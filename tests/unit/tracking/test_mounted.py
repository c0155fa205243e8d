from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.errors import SpoolError
from dicomnode.tracking import instances, mounted
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import instance


def test_a_new_node_gets_its_folders(database: Database, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    mounted.prepare(database, spool)
    assert spool.is_made()


def test_a_spool_that_is_not_mounted_is_no_new_node(database: Database, tmp_path: Path) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
    spool = Spool(tmp_path / "spool")
    with pytest.raises(SpoolError, match="mount the disk"):
        mounted.prepare(database, spool)
    assert not (tmp_path / "spool").exists()
    spool.objects_folder.mkdir(parents=True)
    mounted.prepare(database, spool)
    assert spool.can_write()
