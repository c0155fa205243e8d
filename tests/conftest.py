"""Fixtures for every test: the real series, and settings that live in a temporary folder."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import _config as pynetdicom_config

from dicomnode.config import Settings
from tests import ports

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real CT and MR data, named by DICOMNODE_TEST_DATA."""
    folder = Path(os.environ.get("DICOMNODE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set DICOMNODE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def real_series(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Path]]:
    """`real_series("uih_umr770_t1_subjA_134434")`: the files of that archive, unpacked once."""
    unpacked: dict[str, list[Path]] = {}

    def unpack(name: str) -> list[Path]:
        if name not in unpacked:
            (archive,) = real_data.glob(f"*/{name}.tar.xz")
            folder = tmp_path_factory.mktemp(name)
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            unpacked[name] = sorted(path for path in folder.rglob("*") if path.is_file())
        return unpacked[name]

    return unpack


@pytest.fixture(autouse=True)
def _pynetdicom_as_it_was() -> Iterator[None]:
    """A receiver that runs inside a test sets this for the whole process: later tests must not
    see it."""
    before = pynetdicom_config.UNRESTRICTED_STORAGE_SERVICE
    yield
    pynetdicom_config.UNRESTRICTED_STORAGE_SERVICE = before


@pytest.fixture
def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on."""
    return ports.free_port()


@pytest.fixture
def make_settings(tmp_path: Path, free_port: int) -> Callable[..., Settings]:
    """Settings with their data in a temporary folder; sections are given as keyword tables."""

    def make(**sections: Any) -> Settings:
        node = {"data_folder": tmp_path / "data"} | sections.pop("node", {})
        scp = {"port": free_port, "minimum_free_bytes": 0} | sections.pop("scp", {})
        return Settings(node=node, scp=scp, **sections)

    return make
