"""The file store: first one wins, nothing half, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.dicom.file_format import encode_file_meta
from dicomnode.errors import OutOfSpaceError, SpoolError
from dicomnode.tracking.spool import Spool, StoreOutcome, object_name

UID = "1.2.3.4"
DATA = os.urandom(300_000)


def meta(calling: str = "SCANNER") -> bytes:
    return encode_file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        sop_instance_uid=UID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        calling_ae_title=calling,
        called_ae_title="DICOMNODE",
        peer_address="192.0.2.7",
    )


def files(spool: Spool) -> list[str]:
    return [name for names in spool.names() for name in names]


def test_a_stored_object_is_its_file_meta_and_its_data_set(spool: Spool) -> None:
    result = spool.store(UID, meta(), DATA)
    assert result.outcome is StoreOutcome.STORED
    assert spool.path(result.name).read_bytes() == meta() + DATA
    assert result.size_bytes == len(meta()) + len(DATA)
    assert files(spool) == [result.name] == [object_name(UID)]


def test_names_come_from_hashes(spool: Spool) -> None:
    result = spool.store("../../evil", meta(), DATA)
    assert set(result.name) <= set("0123456789abcdef/.dcm")
    assert spool.path(result.name).resolve().is_relative_to(spool.path(".").resolve())


def test_the_same_data_set_again_is_a_duplicate_whoever_sends_it(spool: Spool) -> None:
    spool.store(UID, meta(), DATA)
    again = spool.store(UID, meta("OTHER"), DATA)
    assert again.outcome is StoreOutcome.DUPLICATE
    assert spool.path(again.name).read_bytes() == meta() + DATA


@pytest.mark.parametrize(
    "other", [DATA[:-2], DATA + b"\0\0", DATA[:-1] + bytes([DATA[-1] ^ 1]), b"", meta() + DATA]
)
def test_another_data_set_is_a_conflict_and_the_first_is_kept(spool: Spool, other: bytes) -> None:
    spool.store(UID, meta(), DATA)
    result = spool.store(UID, meta(), other)
    assert result.outcome is StoreOutcome.CONFLICT
    assert spool.path(result.name).read_bytes() == meta() + DATA


def test_of_many_that_store_at_once_one_wins(spool: Spool) -> None:
    outcomes: list[StoreOutcome] = []

    def store(number: int) -> None:
        outcomes.append(spool.store(UID, meta(), bytes([number]) * 1000).outcome)

    threads = [threading.Thread(target=store, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == [StoreOutcome.CONFLICT] * 7 + [StoreOutcome.STORED]


def test_quarantine_keeps_the_same_bytes_once(spool: Spool) -> None:
    first = spool.quarantine("conflict", meta(), DATA)
    second = spool.quarantine("conflict", meta(), DATA)
    other = spool.quarantine("unreadable", meta(), DATA)
    assert first.name == second.name != other.name
    assert sorted(spool.quarantined_names()) == sorted([first.name, other.name])
    assert spool.quarantine_path(first.name).read_bytes() == meta() + DATA
    assert files(spool) == []


def test_a_reason_is_never_a_path(spool: Spool) -> None:
    with pytest.raises(ValueError, match="no reason code"):
        spool.quarantine("../evil", meta(), DATA)


def test_too_little_free_space_is_said_before_writing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", minimum_free_bytes=1 << 60)
    spool.prepare()
    with pytest.raises(OutOfSpaceError, match="minimum_free_bytes"):
        spool.store(UID, meta(), DATA)
    assert files(spool) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=2000", "none", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    if subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode != 0:
        pytest.skip("this machine does not permit to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


def test_a_full_disk_keeps_what_is_there_and_leaves_nothing_half(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool")
    spool.prepare()
    stored: list[str] = []

    def fill() -> None:
        for number in range(40):
            stored.append(spool.store(f"1.2.{number}", meta(), DATA).name)  # noqa: PERF401

    with pytest.raises(OutOfSpaceError):
        fill()
    assert len(stored) > 5
    assert sorted(files(spool)) == sorted(stored)
    assert all(spool.path(name).read_bytes() == meta() + DATA for name in stored)
    assert list((small_disk / "spool" / "incoming").iterdir()) == []


def test_a_folder_that_is_gone_is_a_spool_error(spool: Spool, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "spool" / "incoming")
    with pytest.raises(SpoolError):
        spool.store(UID, meta(), DATA)


def test_what_a_killed_process_left_is_removed_after_an_hour(spool: Spool, tmp_path: Path) -> None:
    incoming = tmp_path / "spool" / "incoming"
    (incoming / "old.tmp").write_bytes(b"half")
    (incoming / "new.tmp").write_bytes(b"half")
    os.utime(incoming / "old.tmp", times=(time.time() - 7200,) * 2)
    assert spool.remove_abandoned() == 1
    assert [path.name for path in incoming.iterdir()] == ["new.tmp"]
