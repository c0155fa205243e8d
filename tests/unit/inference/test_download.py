"""Fetching from real servers on loopback, good and bad ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dicomnode.errors import ModelError
from dicomnode.inference import download
from tests.file_server import Served, serving

CONTENT = bytes(range(256)) * 9000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def _fetch(served: Served, folder: Path, **options: object) -> bytes:
    options = {"wait_seconds": 0.0} | options
    path = download.fetch(served.url, folder, lambda done, total: None, **options)  # type: ignore[arg-type]
    return path.read_bytes()


def _parts(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("*.part")]


def test_a_file_comes_whole_with_its_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with serving(Served(CONTENT)) as served:
        path = download.fetch(served.url, tmp_path, lambda *step: seen.append(step), sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert served.ranges == [None]


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(Served(CONTENT, break_off_after=[700_000, 400_000])) as served:
        assert _fetch(served, tmp_path) == CONTENT
    assert served.ranges == [None, "bytes=700000-", "bytes=1100000-"]


def test_what_is_here_is_kept_for_the_next_command(tmp_path: Path) -> None:
    broken = [700_000, 0, 0, 0]
    with serving(Served(CONTENT, break_off_after=broken)) as served:
        with pytest.raises(ModelError, match=r"broke off at 700000 of 2304000 bytes.*goes on"):
            _fetch(served, tmp_path)
        assert _parts(tmp_path) == [CONTENT[:700_000]]
        assert _fetch(served, tmp_path, sha256=SHA256) == CONTENT
    assert served.ranges[-1] == "bytes=700000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path: Path) -> None:
    with serving(Served(CONTENT, break_off_after=[700_000, 0, 0, 0])) as served:
        with pytest.raises(ModelError, match="broke off"):
            _fetch(served, tmp_path)
        served.content, served.etag = CONTENT[::-1], '"two"'
        assert _fetch(served, tmp_path) == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_pieced_together(
    tmp_path: Path, etag: str | None
) -> None:
    with serving(Served(CONTENT, etag=etag, break_off_after=[700_000])) as served:
        assert _fetch(served, tmp_path) == CONTENT
    assert served.ranges == [None, None]


def test_a_known_digest_lets_a_download_without_validator_go_on(tmp_path: Path) -> None:
    with serving(Served(CONTENT, etag=None, break_off_after=[700_000])) as served:
        assert _fetch(served, tmp_path, sha256=SHA256) == CONTENT
    assert served.ranges == [None, "bytes=700000-"]


def test_a_server_without_ranges_starts_over(tmp_path: Path) -> None:
    with serving(Served(CONTENT, with_range=False, break_off_after=[700_000])) as served:
        assert _fetch(served, tmp_path) == CONTENT
    assert len(served.ranges) == 2


def test_a_whole_file_is_not_fetched_twice(tmp_path: Path) -> None:
    with serving(Served(CONTENT)) as served:
        _fetch(served, tmp_path)
        assert _fetch(served, tmp_path) == CONTENT
    assert served.ranges == [None, f"bytes={len(CONTENT)}-"]


def test_another_digest_is_thrown_away(tmp_path: Path) -> None:
    with (
        serving(Served(CONTENT)) as served,
        pytest.raises(ModelError, match=rf"SHA-256 is {SHA256}, expected 00"),
    ):
        _fetch(served, tmp_path, sha256="0" * 64)
    assert not list(tmp_path.iterdir())


def test_another_size_is_not_fetched(tmp_path: Path) -> None:
    with (
        serving(Served(CONTENT)) as served,
        pytest.raises(ModelError, match=r"has 2304000 bytes, expected 5"),
    ):
        _fetch(served, tmp_path, size_bytes=5)
    assert not list(tmp_path.iterdir())


def test_a_server_that_promises_more_than_it_has_is_given_up(tmp_path: Path) -> None:
    with (
        serving(Served(CONTENT, claimed_bytes=len(CONTENT) + 10)) as served,
        pytest.raises(ModelError, match=r"broke off at 2304000 of 2304010 bytes"),
    ):
        _fetch(served, tmp_path)


def test_a_file_beyond_the_free_space_is_not_begun(tmp_path: Path) -> None:
    with (
        serving(Served(CONTENT, claimed_bytes=10**17)) as served,
        pytest.raises(ModelError, match="there is room for"),
    ):
        _fetch(served, tmp_path)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (503, 3)])
def test_a_refusal_is_told_and_only_a_busy_server_asked_again(
    tmp_path: Path, status: int, asked: int
) -> None:
    with (
        serving(Served(CONTENT, status=status)) as served,
        pytest.raises(ModelError, match=str(status)),
    ):
        _fetch(served, tmp_path)
    assert len(served.ranges) == asked


def test_nobody_at_the_address_is_told(tmp_path: Path, free_port: int) -> None:
    with pytest.raises(ModelError, match=r"can.t be fetched: .*refused"):
        _fetch(Served(b"", url=f"http://127.0.0.1:{free_port}/a.zip"), tmp_path)


def test_a_redirect_is_followed(tmp_path: Path) -> None:
    with serving(Served(CONTENT, redirect_to="/moved.zip")) as served:
        assert _fetch(served, tmp_path) == CONTENT


def test_what_is_secret_in_an_address_is_never_shown() -> None:
    url = "https://user:secret@host.example:8443/files/a.zip?token=secret#secret"
    assert download.shown(url) == "https://host.example:8443/files/a.zip"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://zenodo.org/records/1/files/BVM.zip?download=1", "BVM.zip"),
        ("https://zenodo.org/api/records/1/files/BVM.zip/content", "BVM.zip"),
        ("https://host.example/..%2F..%2Fetc%2Fpasswd.zip", "_.._etc_passwd.zip"),
        ("https://host.example", "download"),
    ],
)
def test_the_name_of_a_file_is_no_path(url: str, name: str) -> None:
    assert download.file_name(url) == name
