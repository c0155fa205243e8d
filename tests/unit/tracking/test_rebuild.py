"""Rows come back from the files alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.dicom.file_format import encode_file_meta, read_received
from dicomnode.domain import StoredInstance
from dicomnode.tracking import findings, instances, quarantine, rebuild
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import instances as table
from dicomnode.tracking.spool import Spool
from tests.factories import make_series
from tests.unit.tracking.rows import START


def store_all(spool: Spool, paths: list[Path]) -> list[StoredInstance]:
    """Store each file's data set as the receiver does; returns the rows it would write."""
    stored = []
    for path in paths:
        original = path.read_bytes()
        first = read_received("", path)
        offset = 144 + int.from_bytes(original[140:144], "little")
        meta = encode_file_meta(
            sop_class_uid=first.header.sop_class_uid,
            sop_instance_uid=first.header.sop_instance_uid,
            transfer_syntax_uid=first.header.transfer_syntax_uid,
            calling_ae_title="SCANNER",
            called_ae_title="DICOMNODE",
            peer_address="2001:db8::7",
        )
        result = spool.store(first.header.sop_instance_uid, meta, original[offset:])
        stored.append(
            replace(
                first,
                name=result.name,
                size_bytes=result.size_bytes,
                file_sha256=result.file_sha256,
                received_at=START,
                calling_ae_title="SCANNER",
                called_ae_title="DICOMNODE",
                peer_address="2001:db8::7",
            )
        )
    return stored


def rows(database: Database) -> list[sa.RowMapping]:
    columns = [c for c in table.c if c.name not in ("id", "received_at", "association_id")]
    with database.read() as connection:
        return list(connection.execute(sa.select(*columns).order_by(table.c.name)).mappings())


def test_an_empty_database_is_rebuilt_as_it_was(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=5))
    with database.begin() as connection:
        instances.add(connection, stored)
    before = rows(database)
    fresh = Database(f"sqlite:///{tmp_path}/fresh.sqlite")
    fresh.migrate()
    assert rebuild.reconcile(fresh, spool, read_received) == 5
    assert [dict(row) for row in rows(fresh)] == [dict(row) for row in before]
    assert rebuild.reconcile(fresh, spool, read_received) == 0
    study = stored[0].header.study_instance_uid
    with fresh.read() as connection:
        (found,) = findings.verdicts_of_study(connection, study)
    assert (found.instance_count, found.state) == (5, "receiving")
    fresh.close()


def test_only_missing_rows_are_added(database: Database, spool: Spool, tmp_path: Path) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=5))
    with database.begin() as connection:
        instances.add(connection, stored[:3])
    assert rebuild.reconcile(database, spool, read_received) == 2
    assert len(rows(database)) == 5


def test_a_damaged_file_is_named_and_stays(
    database: Database, spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=3))
    damaged = spool.path(stored[0].name)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert rebuild.reconcile(database, spool, read_received) == 2
    assert damaged.exists()
    assert "can't be read" in caplog.text


def test_quarantined_files_get_their_rows_back(database: Database, spool: Spool) -> None:
    kept = spool.quarantine("conflict", b"meta", b"data")
    for _ in range(2):
        rebuild.reconcile(database, spool, read_received)
    with database.read() as connection:
        (row,) = quarantine.newest(connection)
    assert (row.name, row.reason, row.size_bytes) == (kept.name, "conflict", 8)
