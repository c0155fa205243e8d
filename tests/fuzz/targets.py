"""What is fuzzed: each target takes any bytes, and only errors of ours may come out of it.

`python bench/fuzz.py` runs them for as long as it is told, led by coverage where atheris is
installed; `tests/fuzz/test_fuzz.py` runs them briefly. The corpus is made by `make_corpus`, of
drawn data only.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicomnode.dicom.encoded import claimed_header, peek
from dicomnode.dicom.file_format import read_received
from dicomnode.dicom.header import read_acquisition, read_claims
from dicomnode.dicom.images import read_images
from dicomnode.dicom.series import sort_series
from dicomnode.dicom.volume import read_volume
from dicomnode.errors import SeriesRefusedError, UnreadableObjectError
from tests.factories import make_series
from tests.multiframe import make_multiframe

CORPUS = Path(__file__).parent / "corpus"
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
)
MOST_BYTES = 1 << 16
_LENGTH = struct.Struct("<L")


def data_set(data: bytes) -> None:
    """The receiver's walk over an encoded data set; the first byte chooses the transfer syntax."""
    syntax = str(SYNTAXES[data[0] % len(SYNTAXES)]) if data else ""
    claimed_header(data[1:], syntax)
    with suppress(UnreadableObjectError):
        peek(data[1:], syntax)


def file(data: bytes) -> None:
    """One file: what rebuilds the index, and what reads it as images with their headers."""
    with _files([data]) as (path,):
        with suppress(UnreadableObjectError):
            read_received(path.name, path)
        with suppress(SeriesRefusedError):
            headers = [image.ds for image in read_images(path)]
            read_claims(headers)
            read_acquisition(headers, 1.0)


def series(data: bytes) -> None:
    """Several files as one series: stacks and volumes are made of it, or refused."""
    with _files(parted(data)) as paths:
        for stack in sort_series(paths).stacks:
            with suppress(SeriesRefusedError):
                read_volume(stack)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "data_set": data_set,
    "file": file,
    "series": series,
}


def joined(files: list[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(one)) + one for one in files)


def parted(data: bytes) -> list[bytes]:
    """The other way; a length that lies takes what is there."""
    found: list[bytes] = []
    while len(data) > _LENGTH.size and len(found) < 16:
        (length,) = _LENGTH.unpack_from(data)
        found.append(data[_LENGTH.size : _LENGTH.size + length])
        data = data[_LENGTH.size + length :]
    return found


@contextmanager
def _files(contents: list[bytes]) -> Iterator[list[Path]]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        paths = [Path(folder) / f"{number}.dcm" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        yield paths


def make_corpus(folder: Path) -> None:
    """One small seed for each target and transfer syntax, written to `folder`/TARGET/."""
    small: dict[str, Any] = {"slices": 4, "rows": 8, "columns": 8, "modality": "CT"}
    for number, syntax in enumerate(SYNTAXES):
        name = syntax.name.split(" (")[0].replace(" ", "-").lower()
        large = {"rows": 32, "columns": 32} if syntax == JPEG2000Lossless else {}
        with tempfile.TemporaryDirectory() as made:
            options = small | large | {"transfer_syntax": syntax}
            paths = make_series(Path(made) / "single", **options)
            frames = make_multiframe(Path(made) / "frames", slices=4, rows=8, columns=8)
            _keep(folder / "data_set" / name, bytes([number]) + _data_set_of(paths[0]))
            _keep(folder / "file" / name, paths[0].read_bytes())
            _keep(folder / "series" / name, joined([path.read_bytes() for path in paths]))
            if syntax == ExplicitVRLittleEndian:
                content = frames.paths[0].read_bytes()
                _keep(folder / "file" / "multi-frame", content)
                _keep(folder / "series" / "multi-frame", joined([content]))


def _data_set_of(path: Path) -> bytes:
    """What follows the file meta."""
    meta = dcmread(path, stop_before_pixels=True).file_meta
    return path.read_bytes()[128 + 4 + 12 + meta.FileMetaInformationGroupLength :]


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    make_corpus(CORPUS)
