"""Rows come back from the files alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.dicom.file_format import encode_file_meta, read_claims, read_received
from dicomnode.domain import StoredInstance
from dicomnode.errors import SpoolError
from dicomnode.tracking import associations, findings, instances, quarantine, rebuild
from dicomnode.tracking.associations import OpenedAssociation
from dicomnode.tracking.database import Database
from dicomnode.tracking.rebuild import Readers
from dicomnode.tracking.schema import instances as table
from dicomnode.tracking.spool import Spool
from tests.factories import make_series
from tests.unit.tracking.rows import START

READERS = Readers(read_received, read_claims)


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
    assert rebuild.reconcile(fresh, spool, READERS) == 5
    assert [dict(row) for row in rows(fresh)] == [dict(row) for row in before]
    assert rebuild.reconcile(fresh, spool, READERS) == 0
    study = stored[0].header.study_instance_uid
    with fresh.read() as connection:
        (found,) = findings.verdicts_of_study(connection, study)
    assert (found.instance_count, found.state) == (5, "receiving")
    fresh.close()


def test_only_missing_rows_are_added(database: Database, spool: Spool, tmp_path: Path) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=5))
    with database.begin() as connection:
        instances.add(connection, stored[:3])
    assert rebuild.reconcile(database, spool, READERS) == 2
    assert len(rows(database)) == 5


def holding(database: Database, stored: StoredInstance) -> findings.SeriesFinding:
    with database.read() as connection:
        (found,) = findings.verdicts_of_study(connection, stored.header.study_instance_uid)
    return found


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_a_damaged_file_is_named_and_stays_and_holds_its_series(
    database: Database, spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=3))
    path = spool.path(stored[0].name)
    whole = path.read_bytes()
    damage(path)
    assert rebuild.reconcile(database, spool, READERS) == 2
    assert path.exists()
    assert "can't be read" in caplog.text
    assert holding(database, stored[0]).quarantined == 1
    path.write_bytes(whole)  # somebody brought it back from a backup
    assert rebuild.reconcile(database, spool, READERS) == 1
    assert holding(database, stored[0]).quarantined == 0


def test_a_damaged_file_that_says_nothing_has_a_row(database: Database, spool: Spool) -> None:
    kept = spool.store("1.2.3", b"x", b"y")
    for _ in range(2):
        assert rebuild.reconcile(database, spool, READERS) == 0
    with database.read() as connection:
        (row,) = quarantine.newest(connection)
    assert (row.name, row.reason) == (f"objects/{kept.name}", quarantine.DAMAGED)


def test_one_row_that_the_database_refuses_does_not_stop_the_others(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=3))

    def read(name: str, path: Path) -> StoredInstance:
        one = read_received(name, path)
        return replace(one, size_bytes=None) if name == stored[0].name else one  # type: ignore[arg-type]

    assert rebuild.reconcile(database, spool, Readers(read, read_claims)) == 2
    assert holding(database, stored[0]).quarantined == 1


def test_quarantined_files_get_their_rows_back_with_their_uids(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    (made,) = make_series(tmp_path / "sent", slices=1)
    whole = made.read_bytes()
    kept = spool.quarantine("unreadable", whole[:-100], b"")
    for _ in range(2):
        rebuild.reconcile(database, spool, READERS)
    header = read_received("", made).header
    with database.read() as connection:
        (row,) = quarantine.newest(connection)
        (found,) = findings.verdicts_of_study(connection, header.study_instance_uid)
    assert (row.name, row.reason, row.size_bytes) == (kept.name, "unreadable", len(whole) - 100)
    assert row.series_instance_uid == header.series_instance_uid
    assert (found.instance_count, found.quarantined) == (0, 1)


def sent_over(database: Database, stored: list[StoredInstance], at_: datetime) -> None:
    """The association has opened and its pair is on record; the rows never came."""
    opened = OpenedAssociation("a", "killed", "SCANNER", "DICOMNODE", "192.0.2.7", at_)
    with database.begin() as connection:
        associations.open_(connection, [opened])
        instances.expect(connection, stored[0].header, at_, "a")


def test_a_killed_receiver_holds_its_series_until_its_rows_are_made(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=3))
    sent_over(database, stored, datetime.now(UTC) - timedelta(minutes=1))
    assert holding(database, stored[0]).is_being_sent
    assert rebuild.settle(database, spool, READERS, living={"killed"}) == 0
    assert holding(database, stored[0]).is_being_sent
    assert rebuild.settle(database, spool, READERS) == 1
    found = holding(database, stored[0])
    assert (found.is_being_sent, found.instance_count) == (False, 3)
    assert rebuild.settle(database, spool, READERS) == 0


def test_a_receiver_with_a_heartbeat_is_not_settled(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=3))
    sent_over(database, stored, datetime.now(UTC))
    assert rebuild.settle(database, spool, READERS) == 0
    assert holding(database, stored[0]).is_being_sent


def test_a_disk_that_does_not_read_settles_nothing(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    stored = store_all(spool, make_series(tmp_path / "sent", slices=3))
    sent_over(database, stored, datetime.now(UTC) - timedelta(minutes=1))

    def read(name: str, path: Path) -> StoredInstance:
        if name == stored[0].name:
            raise OSError(5, "Input/output error")
        return read_received(name, path)

    with pytest.raises(SpoolError):
        rebuild.settle(database, spool, Readers(read, read_claims))
    found = holding(database, stored[0])
    assert (found.is_being_sent, found.instance_count) == (True, 2)
