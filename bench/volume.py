"""Series to volume: the node's reader against SimpleITK's, with reading the raw files as the floor.

    PYTHONPATH=. python bench/volume.py [--short] [--slices 600] [--json FILE]

CT, 512x512, 16 bits, uncompressed, a file each. All read the folder, sort the slices and give
float32 values after rescaling; they take turns in each round, with the files in memory (warm) and
taken out of this machine's page cache before (cold). That both give the same values is
checked first.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import results
from dicomnode.dicom.series import SourceStack, sort_series
from dicomnode.dicom.volume import LOWEST_HOUNSFIELD, read_volume
from tests.factories import make_series

DISTINCT = 10
NODE, HEADERS, ITK, FLOOR = (
    "dicomnode",
    "of it, headers and sorting",
    "SimpleITK ImageSeriesReader",
    "files read as bytes",
)
Seconds = dict[str, list[float]]
CPU = " (CPU)"


def drawn(folder: Path, slices: int) -> list[Path]:
    """A CT of noise: what it shows costs nothing, and noise is what no file system compresses."""
    rng = np.random.default_rng(7)
    distinct = rng.integers(-1000, 1500, (DISTINCT, 512, 512)).astype(np.float32)
    volume = distinct[np.arange(slices) % DISTINCT]
    return make_series(
        folder,
        modality="CT",
        rows=512,
        columns=512,
        slices=slices,
        volume=volume,
        pixel_spacing_mm=(0.5, 0.5),
        slice_spacing_mm=0.5,
    )


def one_stack(paths: Sequence[Path]) -> SourceStack:
    found = sort_series(paths)
    if len(found.stacks) != 1 or found.set_aside:
        raise SystemExit(f"the series should be one volume: {found.set_aside}")
    return found.stacks[0]


def simpleitk() -> Any:
    """It has no types."""
    import SimpleITK

    return SimpleITK


def with_simpleitk(folder: Path) -> NDArray[Any]:
    sitk = simpleitk()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(reader.Execute()))


def as_bytes(paths: Sequence[Path]) -> None:
    buffer = bytearray(max(path.stat().st_size for path in paths))
    for path in paths:
        with path.open("rb", buffering=0) as stream:
            stream.readinto(buffer)


def out_of_memory(paths: Sequence[Path]) -> None:
    for path in paths:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def check_equal(folder: Path, paths: Sequence[Path]) -> None:
    ours = read_volume(one_stack(paths)).array
    theirs = np.maximum(with_simpleitk(folder), LOWEST_HOUNSFIELD)
    if not (np.array_equal(ours, theirs) or np.array_equal(ours, theirs[::-1])):
        raise SystemExit("dicomnode and SimpleITK read different values")


def run(folder: Path, paths: Sequence[Path], rounds: int, cold: bool) -> Seconds:
    names = (NODE, HEADERS, ITK, FLOOR)
    seconds: Seconds = {f"{name}{kind}": [] for name in names for kind in ("", CPU)}

    def timed(name: str, read: Callable[[], object]) -> None:
        if cold:
            out_of_memory(paths)
        measured(name, read)

    def measured(name: str, read: Callable[[], Any]) -> Any:
        began, cpu_began = time.perf_counter(), time.process_time()
        result = read()
        seconds[name].append(time.perf_counter() - began)
        seconds[name + CPU].append(time.process_time() - cpu_began)
        return result

    def node() -> None:
        read_volume(measured(HEADERS, lambda: one_stack(paths)))

    ways: list[tuple[str, Callable[[], object]]] = [
        (NODE, node),
        (ITK, lambda: with_simpleitk(folder)),
        (FLOOR, lambda: as_bytes(paths)),
    ]
    for number in range(rounds):
        turn = number % len(ways)
        for name, read in ways[turn:] + ways[:turn]:
            timed(name, read)
    return seconds


def report(found: dict[str, Seconds], loads: Sequence[float], slices: int) -> results.Report:
    itk = [results.ratio(seconds[NODE], seconds[ITK]) for seconds in found.values()]
    floor = [results.ratio(seconds[NODE], seconds[FLOOR]) for seconds in found.values()]
    rows = []
    for name in (NODE, HEADERS, ITK, FLOOR):
        both = [
            [statistics.median(seconds[f"{name}{kind}"]) for kind in ("", CPU)]
            for seconds in found.values()
        ]
        rows.append([name, *(f"{value:.2f}" for pair in both for value in pair)])
    for name, peer, ratios in (("SimpleITK", ITK, itk), ("floor", FLOOR, floor)):
        cpu = (results.ratio(each[NODE + CPU], each[peer + CPU]) for each in found.values())
        told = (f"{value:.2f}" for pair in zip(ratios, cpu, strict=True) for value in pair)
        rows.append([f"dicomnode / {name}", *told])
    return results.Report(
        title=f"Series to volume: {slices} CT slices 512x512",
        columns=["", *(f"{name}, {what}" for name in found for what in ("s", "CPU s"))],
        rows=rows,
        remarks=["Both gave the same values. The last two rows are ratios."],
        goals=[
            results.Goal("at most", "1.0x SimpleITK", _both(itk), max(itk) <= 1),
            results.Goal("at most", "3x the floor", _both(floor), max(floor) <= 3),
        ],
        figures=found,
        load_averages=loads,
    )


def _both(ratios: Sequence[float]) -> str:
    return f"{ratios[0]:.2f}x warm, {ratios[1]:.2f}x cold"


def main() -> None:
    parser = results.parser(__doc__)
    parser.add_argument("--slices", type=int, help="default 600, with --short 150")
    given: argparse.Namespace = parser.parse_args()
    slices = given.slices or (150 if given.short else 600)
    loads = [results.load_average()]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        paths = drawn(folder, slices)
        check_equal(folder, paths)
        found = {
            "warm": run(folder, paths, given.rounds, cold=False),
            "cold": run(folder, paths, given.rounds, cold=True),
        }
    results.tell(report(found, [*loads, results.load_average()], slices), given.json)


if __name__ == "__main__":
    main()
