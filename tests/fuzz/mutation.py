"""Random changes with a seed, for machines without atheris: the same seed, the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# What means something to a reader of DICOM: lengths, items, delimiters, VRs, numbers of all sizes.
_WORDS = (
    b"\xff\xff\xff\xff",
    b"\xff\xff",
    b"\xfe\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\x00\x00",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
    b"\xe0\x7f\x10\x00OW\x00\x00",
    b"SQ\x00\x00\xff\xff\xff\xff",
    b"UN\x00\x00\xff\xff\xff\xff",
    b"-1",
    b"1e309",
    b"nan",
    b"1e-320",
    b"99999999999999999999",
    b"\\",
    b"\x1b$B",
    b"../",
    b"\x00",
    b"\x80",
)
LONGEST = 1 << 16


def _flip(rng: random.Random, data: bytearray, _: bytes) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _write(rng: random.Random, data: bytearray, _: bytes) -> None:
    word, at = rng.choice(_WORDS), rng.randrange(len(data))
    data[at : at + len(word)] = word


def _insert(rng: random.Random, data: bytearray, _: bytes) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.choice(_WORDS)


def _remove(rng: random.Random, data: bytearray, _: bytes) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 8, 64, 512))]


def _repeat(rng: random.Random, data: bytearray, _: bytes) -> None:
    at = rng.randrange(len(data))
    piece = data[at : at + rng.choice((2, 8, 64, 256))]
    data[at:at] = piece * rng.randrange(1, 8)


def _graft(rng: random.Random, data: bytearray, other: bytes) -> None:
    start = rng.randrange(len(other))
    at, length = rng.randrange(len(data)), rng.choice((8, 64, 512))
    data[at : at + length] = other[start : start + length]


_CHANGES: Sequence[Callable[[random.Random, bytearray, bytes], None]] = (
    _flip,
    _write,
    _write,
    _insert,
    _remove,
    _repeat,
    _graft,
)


def mutated(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One seed with one to six changes."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randrange(1, 7)):
        rng.choice(_CHANGES)(rng, data, rng.choice(corpus))
        data = data[:LONGEST] or bytearray(1)
    return bytes(data)
