"""What it costs to decode peers' pixels in a process of their own, against decoding in the worker.

    python bench/decoding.py --slices 300 --rounds 3

A drawn CT with noise, 512 x 512, 16 bits, in each transfer syntax that tools at hand can write
(RLE and JPEG 2000: pydicom; JPEG Lossless and JPEG-LS: dcmtk). `within` the worker and `apart`,
start of the process included, take turns; medians of wall time and of the processor time of both
processes together. `peak` is the most memory that the decoding process held.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicomnode.dicom.decoder import Decoder, Encoded
from dicomnode.dicom.frames import EncodedObject, WantedFrame
from tests.decoding import peak_bytes, processor_seconds
from tests.factories import make_series

WANTED = WantedFrame(frame=0, frames=1, rows=512, columns=512, bits_allocated=16)
PYDICOM = {
    "RLE Lossless": RLELossless,
    "JPEG 2000 Lossless": JPEG2000Lossless,
    "Deflated": DeflatedExplicitVRLittleEndian,
}
DCMTK = {"JPEG Lossless": ["dcmcjpeg", "+e1"], "JPEG-LS Lossless": ["dcmcjpls", "+el"]}
DISTINCT = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    columns = f"{'within':>9} {'apart':>9} {'cost':>7}"
    print(f"{'':20} {'wall time':<27} {'processor time':<27}")
    print(f"{'transfer syntax':20} {columns} {columns} {'peak':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in (*PYDICOM, *DCMTK):
            made = made_series(Path(folder), name)
            paths = [made[index % len(made)] for index in range(given.slices)]
            _report(name, paths, given.rounds)


def made_series(folder: Path, name: str) -> list[Path]:
    """Some slices, which are read again and again."""
    syntax = PYDICOM.get(name, ExplicitVRLittleEndian)
    rng = np.random.default_rng(7)
    smooth = np.linspace(-1000, 1500, 512)[None, :, None] * np.ones((DISTINCT, 1, 512))
    volume = smooth + rng.normal(0, 15, smooth.shape)
    paths = make_series(
        folder / name,
        modality="CT",
        rows=512,
        columns=512,
        slices=DISTINCT,
        volume=volume,
        transfer_syntax=syntax,
    )
    for path in paths if name in DCMTK else ():
        subprocess.run([*DCMTK[name], str(path), str(path)], check=True)
    return paths


def in_process(paths: Sequence[Path]) -> tuple[float, float]:
    """Wall and processor time."""
    begin, spent = time.perf_counter(), time.process_time()
    for path in paths:
        with path.open("rb") as stream:
            EncodedObject(stream).values(WANTED)
    return time.perf_counter() - begin, time.process_time() - spent


def own_process(paths: Sequence[Path], inflates: bool) -> tuple[float, float, int]:
    """Wall time, processor time of both processes, the most memory of the decoding one."""
    begin, spent = time.perf_counter(), time.process_time()
    frames = [Encoded(path, WANTED, inflates) for path in paths]
    with closing(Decoder()) as decoder:
        for frame, following in zip(frames, [*frames[1:], None], strict=True):
            decoder.values(frame, following)
        wall, own = time.perf_counter() - begin, time.process_time() - spent
        return wall, own + processor_seconds(decoder), peak_bytes(decoder)


def _report(name: str, paths: Sequence[Path], rounds: int) -> None:
    inflates = name == "Deflated"
    in_process(paths[:5])
    own_process(paths[:5], inflates)
    inside, outside = [], []
    for _ in range(rounds):
        inside.append(in_process(paths))
        outside.append(own_process(paths, inflates))
    line = f"{name:20}"
    for which in (0, 1):
        before, after = (
            statistics.median(run[which] for run in runs) for runs in (inside, outside)
        )
        line += f" {before:7.2f} s {after:7.2f} s {after / before - 1:+7.1%}"
    print(f"{line} {max(run[2] for run in outside) >> 20:5} MiB", flush=True)


if __name__ == "__main__":
    main()
