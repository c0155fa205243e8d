"""Files that are gone: what remains of them, and how they come back."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.dicom.file_format import encode_file_meta
from dicomnode.gate.files import is_as_received
from dicomnode.tracking import instances
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import instances as schema_instances
from dicomnode.tracking.schema import series
from dicomnode.tracking.spool import Spool, StoreOutcome, object_name
from tests.unit.tracking.rows import SERIES, instance

UID = "1.2.3.4"
DATA = os.urandom(100_000)


def meta(calling: str = "SCANNER") -> bytes:
    return encode_file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        sop_instance_uid=UID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        calling_ae_title=calling,
        called_ae_title="DICOMNODE",
        peer_address="192.0.2.7",
    )


@pytest.fixture
def removed(spool: Spool) -> Path:
    """Where the object was; no data set of it is left."""
    name = spool.store(UID, meta(), DATA).name
    spool.remove(name)
    return spool.path(name)


def test_a_removed_object_gives_its_space_back_and_is_no_object_any_more(
    spool: Spool, removed: Path
) -> None:
    assert not removed.exists()
    assert [name for names in spool.names() for name in names] == []
    (left,) = removed.parent.iterdir()
    assert left.stat().st_size < 1000
    assert spool.file_meta(object_name(UID)) == meta()


def test_it_comes_back_as_the_very_file_that_it_was_whoever_sends_it(
    spool: Spool, removed: Path
) -> None:
    again = spool.store(UID, meta("OTHER"), DATA)
    assert again.outcome is StoreOutcome.STORED
    assert removed.read_bytes() == meta() + DATA
    assert again.file_sha256 == hashlib.sha256(meta() + DATA).hexdigest()
    assert list(removed.parent.iterdir()) == [removed]


def test_another_object_under_its_uid_is_still_a_conflict(spool: Spool, removed: Path) -> None:
    assert spool.store(UID, meta(), DATA[:-2]).outcome is StoreOutcome.CONFLICT
    assert not removed.exists()
    assert spool.store(UID, meta(), DATA).outcome is StoreOutcome.STORED


def test_what_is_erased_is_as_if_it_had_never_come(spool: Spool, removed: Path) -> None:
    spool.erase(object_name(UID))
    assert spool.store(UID, meta("OTHER"), DATA[:-2]).outcome is StoreOutcome.STORED


def test_a_digest_is_only_believed_of_the_file_that_it_was_made_of(spool: Spool) -> None:
    name = spool.store(UID, meta(), DATA[:-2]).name
    known = spool.digest(name)
    assert known is not None
    spool.erase(name)
    assert spool.digest(name) is None
    spool.store(UID, meta(), DATA)
    spool.remove(name, known)
    assert spool.store(UID, meta(), DATA[:-2]).outcome is StoreOutcome.CONFLICT
    assert spool.store(UID, meta(), DATA).outcome is StoreOutcome.STORED


@pytest.mark.parametrize("step", ["renamed", "written"])
def test_a_removal_that_is_killed_goes_on(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = spool.path(spool.store(UID, meta(), DATA).name)
    remaining = path.with_suffix(".removed")
    if step == "renamed":
        path.replace(remaining)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _die)
            with pytest.raises(KeyboardInterrupt):
                spool.remove(object_name(UID))
    assert spool.store("1.2.3.5", meta(), b"other").outcome is StoreOutcome.STORED
    spool.remove(object_name(UID))
    spool.remove(object_name(UID))
    assert remaining.stat().st_size < 1000
    assert spool.store(UID, meta(), DATA[1:]).outcome is StoreOutcome.CONFLICT
    assert spool.store(UID, meta(), DATA).outcome is StoreOutcome.STORED


def _die(_descriptor: int) -> None:
    raise KeyboardInterrupt


def test_the_gate_still_knows_the_file_that_was_examined(spool: Spool, removed: Path) -> None:
    known = instances.KnownFile(
        "1.2",
        "1.2.840.10008.5.1.4.1.1.4",
        "1.2.840.10008.1.2.1",
        object_name(UID),
        hashlib.sha256(meta() + DATA).hexdigest(),
    )
    encoding = (known.sop_class_uid, known.transfer_syntax_uid)
    assert is_as_received(DATA, encoding, known, spool)
    assert not is_as_received(DATA[:-2], encoding, known, spool)


def test_rows_say_what_is_gone_until_it_comes_again(database: Database) -> None:
    both = [instance(1), instance(2)]
    with database.begin() as connection:
        instances.add(connection, both)
        gone = both[0].received_at
        connection.execute(schema_instances.update().values(removed_at=gone))
        connection.execute(series.update().values(removed_count=2, removed_at=gone))
    names = [one.name for one in both]
    with database.begin() as connection:
        assert instances.missing(connection, names) == names
        assert instances.add(connection, [instance(1)]) == 0
        assert instances.missing(connection, names) == [names[1]]
        assert _removed(connection) == (1, gone)
        instances.add(connection, [instance(2)])
        assert _removed(connection) == (0, None)


def test_one_that_came_while_its_file_was_there_brings_nothing_back(database: Database) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        gone = instance(1).received_at
        connection.execute(schema_instances.update().values(removed_at=gone))
        connection.execute(series.update().values(removed_count=1, removed_at=gone))
        instances.add(connection, [replace(instance(1), was_there=True)])
        assert _removed(connection) == (1, gone)


def _removed(connection: sa.Connection) -> tuple[object, object]:
    query = sa.select(series.c.removed_count, series.c.removed_at)
    return connection.execute(query.where(series.c.series_instance_uid == SERIES)).one()._tuple()
