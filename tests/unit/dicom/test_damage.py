"""Damaged files give a volume or a refusal, never another error."""

import random
from pathlib import Path

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicomnode.dicom.codestream import announced_size
from dicomnode.dicom.volume import read_volume
from dicomnode.errors import SeriesRefusedError
from tests.factories import make_series
from tests.stacks import only_stack

ROUNDS = 60


def damaged(whole: bytes, chance: random.Random) -> bytes:
    content = bytearray(whole)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(128, len(content))
        match chance.randrange(3):
            case 0:
                content[at] = chance.randrange(256)
            case 1:
                del content[at : at + chance.randint(1, 40)]
            case _:
                content[at : at + 4] = b"\xff\xff\xff\xff"
        if len(content) < 200:
            break
    return bytes(content)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    ],
)
def test_damaged_files_are_examined_or_refused(syntax: str, tmp_path: Path) -> None:
    paths = make_series(tmp_path, slices=4, rows=32, columns=32, transfer_syntax=syntax)
    whole = paths[1].read_bytes()
    chance = random.Random(syntax)
    outcomes = set()
    for _ in range(ROUNDS):
        paths[1].write_bytes(damaged(whole, chance))
        try:
            read_volume(only_stack(paths))
            outcomes.add("examined")
        except SeriesRefusedError:
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc3\x00\x0b\x10\x01\x00\x02\x00\x01", (256, 512)),
        (b"\xff\xd8\xff\xff\xf7\x00\x0b\x0c\x00\x40\x00\x30\x01\x01", (64, 48)),
        (b"\xff\xd8\xff\xda\x00\x04ab", None),
        (b"\xff\xd8\x00\x00\x00\x00\x00\x00\x00\x00\x00", None),
        (b"\xff\x4f\xff\x51\x00\x29\x00\x00", None),
        (b"\x00\x00\x00\x0cjP  garbage", None),
        (b"", None),
    ],
)
def test_the_announced_size_is_found_or_none(frame: bytes, size: tuple[int, int] | None) -> None:
    assert announced_size(frame) == size
