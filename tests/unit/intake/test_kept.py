"""Which bytes are read for those who ask again and again what the node has kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dicomnode.intake import kept
from dicomnode.intake.kept import Digests


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "_TIMES_TELL_AFTER_SECONDS", -1e9)
    path = tmp_path / "object.dcm"
    path.write_bytes(b"as it was stored")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    digest: Callable[..., Any] = hashlib.file_digest

    def counted(*given: Any) -> Any:
        found.append(given)
        return digest(*given)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_unchanged_file_is_read_once_an_hour(file: Path, reads: list[Any]) -> None:
    now = 0.0
    digests = Digests(clock=lambda: now)
    assert {digests.of(file) for _ in range(5)} == {sha256(file)}
    assert len(reads) == 1
    now = 3601.0
    digests.of(file)
    assert len(reads) == 2


def test_a_file_that_was_changed_or_replaced_is_read_anew(file: Path, reads: list[Any]) -> None:
    digests = Digests()
    digests.of(file)
    state = file.stat()
    file.write_bytes(b"as it was ch\0nged")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # its change time tells
    assert digests.of(file) == sha256(file)
    other = file.with_name("other")
    other.write_bytes(b"another one here")
    other.replace(file)
    assert digests.of(file) == sha256(file)
    assert len(reads) == 3


def test_a_file_that_was_written_just_now_is_not_trusted_by_its_times(
    file: Path, reads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_TIMES_TELL_AFTER_SECONDS", 3600.0)
    digests = Digests()
    digests.of(file)
    digests.of(file)
    assert len(reads) == 2


def test_what_is_remembered_is_bounded(tmp_path: Path, file: Path, reads: list[Any]) -> None:
    digests = Digests(most=1)
    second = tmp_path / "second"
    second.write_bytes(b"2")
    for path in (file, second, file):
        digests.of(path)
    assert len(reads) == 3
