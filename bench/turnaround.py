"""From the last instance received to its SEG in the PACS, without quiet time and networks.

    PYTHONPATH=. python bench/turnaround.py [--slices 300] [--rounds 5] [--json FILE]

The whole node on loopback (`small_site.py`), with thresholds for networks, which take next to no
time. A series of CT slices 512x512 is sent over one association; the clock runs from the answer to
its last instance to its SEG in the PACS, less `completeness.quiet_seconds`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import results
from bench.raw_association import echo
from bench.receive import replay
from bench.small_site import Pacs, make_site, running_node, running_pacs
from dicomnode.dicom.file_format import split_file
from tests.factories import make_series

QUIET_SECONDS = 5.0
LONGEST_SECONDS = 3.0
SEGS = 1


def head(slices: int) -> NDArray[np.float32]:
    """HU (slice, row, column): tissue, and in it a shell that the second threshold finds."""
    sides = (slices, 512, 512)
    z, y, x = (np.linspace(-1.0, 1.0, n, dtype=np.float32) / 0.8 for n in sides)
    away = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    values = np.where(away < 1.0, np.float32(250.0), np.float32(-1000.0))
    values[(away > 0.85) & (away < 0.95)] = 900.0
    noise = np.random.default_rng(1).normal(0.0, 15.0, values.shape[1:]).astype(np.float32)
    return np.asarray(values + noise)


def wait_for(pacs: Pacs, count: int) -> float:
    """When the PACS had so many SEGs."""
    deadline = time.monotonic() + 300
    while len(pacs.got) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(pacs.got)} of {count} SEGs came")
        time.sleep(0.01)
    return time.monotonic()


def run(given: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds of each round; the first one, which loads everything, is left out."""
    site = make_site(folder)
    text = site.config.read_text(encoding="utf-8").replace("20.0", f"{QUIET_SECONDS}")
    site.config.write_text(text, encoding="utf-8")
    paths = make_series(
        folder / "made",
        rows=512,
        columns=512,
        slices=given.slices,
        modality="CT",
        pixel_spacing_mm=(0.5, 0.5),
        slice_spacing_mm=1.0,
        volume=head(given.slices),
        intercept=-1024.0,
    )
    sop_class = split_file(paths[0].read_bytes())[0].sop_class_uid
    seconds = []
    with running_pacs(site.pacs_port) as pacs, running_node(site.config, site.log):
        while True:
            try:
                echo(site.port)
                break
            except OSError:
                time.sleep(0.1)
        for number in range(given.rounds + 1):
            _, ended = replay(site.port, paths, sop_class, given.slices)
            arrived = wait_for(pacs, SEGS * (number + 1))
            seconds.append(arrived - ended - QUIET_SECONDS)
    return seconds[1:]


def main() -> None:
    parser = results.parser(__doc__)
    parser.add_argument("--slices", type=int, default=300)
    given = parser.parse_args()
    loads = [results.load_average()]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        seconds = run(given, Path(name))
    middle = statistics.median(seconds)
    report = results.Report(
        title=f"Last of {given.slices} CT instances received to its SEG in the PACS",
        columns=["", "seconds, median", "shortest", "longest"],
        rows=[["dicomnode", *(f"{s:.2f}" for s in (middle, min(seconds), max(seconds)))]],
        remarks=[f"Less {QUIET_SECONDS:g} s of quiet; networks that are thresholds."],
        goals=[results.Goal("seconds, under", "3 s", f"{middle:.2f} s", middle < LONGEST_SECONDS)],
        figures=seconds,
        load_averages=[*loads, results.load_average()],
    )
    results.tell(report, given.json)


if __name__ == "__main__":
    main()
