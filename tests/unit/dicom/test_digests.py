"""The digests of a file are those of its bytes in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from dicomnode.dicom import digests
from dicomnode.dicom.digests import digests_of
from dicomnode.dicom.encoded import peek, scan
from tests.unit.dicom.test_encoded import data_set, encode

META = b"meta" * 40


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
    ],
)
def test_they_are_those_of_the_bytes(
    syntax: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_PIECE_BYTES", 7)
    encoded = encode(data_set(), syntax)
    path = tmp_path / "object"
    path.write_bytes(META + encoded)
    found, known = (
        digests_of(path, len(META), scan(encoded, syntax)),
        peek(encoded, syntax),
    )
    assert found.file_sha256 == hashlib.sha256(META + encoded).hexdigest()
    assert (found.pixel_sha256, found.data_set_sha256) == (
        known.pixel_sha256,
        known.data_set_sha256,
    )


def test_a_file_that_was_cut_off_meanwhile_has_none(tmp_path: Path) -> None:
    encoded = encode(data_set(), ExplicitVRLittleEndian)
    path = tmp_path / "object"
    path.write_bytes(META + encoded[:-1])
    found = scan(encoded, ExplicitVRLittleEndian)
    path.write_bytes(META + encoded[: found.pixels[-1].start + 3])
    with pytest.raises(EOFError):
        digests_of(path, len(META), found)
