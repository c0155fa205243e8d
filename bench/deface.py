"""What defacing a series of CT slices takes beside its networks: seconds of each step, and memory.

    PYTHONPATH=. python bench/deface.py [--short] [--rounds 3] [--json FILE]

A drawn head, 300 slices 512 x 512 (1 x 0.5 x 0.5 mm; `--short`: 150 x 256 x 256), is defaced in a
process of its own as the node does it: read, examined, its face replaced, written, read again and
proven. Thresholds that remember tissue stand in for the networks (`tests/remembering.py`); what
they take is told, and is no part of the sum. Memory is the most that the process had resident, or
it and its children together, pages that they share counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import ndimage

from bench import results
from bench.processes import peak_bytes, watched_memory

LONGEST_SECONDS = 10.0
MOST_BYTES = 3e9
NETWORKS = "stand-ins for networks"
# What is timed: the function by the module that calls it, and the step that it is told as.
STEPS = (
    ("dicomnode.defacing.deface.sort_series", "headers"),
    ("dicomnode.defacing.deface.read_slices", "pixels"),
    ("dicomnode.inference.assessment.to_canonical", "examination"),
    ("dicomnode.inference.assessment.measure", "examination"),
    ("dicomnode.inference.assessment._look", "pictures of the skin"),
    ("dicomnode.defacing.plan.face_pieces", "region"),
    ("dicomnode.defacing.plan.protected_brain", "brain"),
    ("dicomnode.defacing.plan.removed_region", "region"),
    ("dicomnode.defacing.plan.plain_air", "air"),
    ("dicomnode.defacing.plan.mask_to_source", "region"),
    ("dicomnode.defacing.volume._fill", "fill"),
    ("dicomnode.defacing.deface.write_derived", "DICOM"),
    ("dicomnode.defacing.volume._proof", "proof"),
    ("dicomnode.defacing.volume.figures", "figures"),
)


def write_head(folder: Path, scale: int) -> None:
    """A CT series, its head drawn coarsely and filled in, since drawing is slow."""
    from dicomnode.training.drawn import draw_head
    from tests.factories import make_series

    head = draw_head(1, "CT", 2.0, (150 // scale, 128 // scale, 128 // scale))
    fine = ndimage.zoom(head.array, (2, 4, 4), order=1, grid_mode=True, mode="nearest")
    fine += np.random.default_rng(2).integers(-6, 7, fine.shape)
    make_series(
        folder,
        modality="CT",
        slices=len(fine),
        rows=fine.shape[1],
        columns=fine.shape[2],
        pixel_spacing_mm=(0.5 * scale, 0.5 * scale),
        slice_spacing_mm=1.0 * scale,
        volume=fine,
    )


@contextmanager
def timed(targets: dict[str, str], told: dict[str, list[float]]) -> Iterator[None]:
    """Adds the seconds and processor seconds of each target's calls to those of its step."""
    patches = [
        patch(target, _timed(_found(target), step, told)) for target, step in targets.items()
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def _found(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(".")
    found: Callable[..., Any] = getattr(sys.modules[module], name)
    return found


def _timed(call: Callable[..., Any], step: str, told: dict[str, list[float]]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        began, spent = time.perf_counter(), time.process_time()
        try:
            return call(*args, **kwargs)
        finally:
            sums = told.setdefault(step, [0.0, 0.0])
            sums[0] += time.perf_counter() - began
            sums[1] += time.process_time() - spent

    return run


def deface_once(series: Path, out: Path) -> dict[str, Any]:
    """In a process of its own: the steps (seconds, processor seconds), the whole, the peak."""
    from dicomnode.config import Settings
    from dicomnode.defacing.deface import deface_series
    from tests.remembering import Memory, RememberingNetwork, networks

    told: dict[str, list[float]] = {}
    segment = _timed(RememberingNetwork.segment, NETWORKS, told)
    with timed(dict(STEPS), told), patch.object(RememberingNetwork, "segment", segment):
        began, spent = time.perf_counter(), time.process_time()
        paths = sorted(series.iterdir())
        found = deface_series(paths, networks(Memory()), Settings(), out).volumes[0].found
        whole = [time.perf_counter() - began, time.process_time() - spent]
    return {
        "steps": told,
        "whole": whole,
        "peak_bytes": peak_bytes(os.getpid()),
        "objections": found.proof.objections,
        "removed_ml": found.proof.removed_ml,
    }


def in_a_child(series: Path, out: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--series", str(series), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with watched_memory(process.pid) as peak:
            line = process.stdout.readline()
        if process.wait() or not line:
            raise SystemExit("defacing failed; what it said stands above")
    found = dict(json.loads(line))
    found["peak_bytes"] = max(found["peak_bytes"], peak())
    return found


def _medians(pairs: list[list[float]]) -> list[float]:
    return [median(values) for values in zip(*pairs, strict=True)]


def report(found: list[dict[str, Any]], sizes: str, loads: list[float]) -> results.Report:
    steps = {name: _medians([one["steps"][name] for one in found]) for name in found[0]["steps"]}
    whole, networks = _medians([one["whole"] for one in found]), steps.get(NETWORKS, [0.0, 0.0])
    beside = [a - b for a, b in zip(whole, networks, strict=True)]
    steps["**all beside networks**"] = beside
    rows = [[name, *(f"{seconds:.2f}" for seconds in of)] for name, of in steps.items()]
    peak = max(one["peak_bytes"] for one in found)
    kept = max(len(one["objections"]) for one in found) == 0
    return results.Report(
        title=f"Defacing {sizes}, beside the networks",
        columns=["step", "seconds", "processor seconds"],
        rows=rows,
        remarks=[f"Peak memory {peak / 1e6:.0f} MB. Medians of {len(found)} rounds."],
        goals=[
            results.Goal(
                "seconds beside networks, under",
                "10 s",
                f"{beside[0]:.1f} s",
                beside[0] < LONGEST_SECONDS,
            ),
            results.Goal("peak memory under", "3 GB", f"{peak / 1e9:.2f} GB", peak < MOST_BYTES),
            results.Goal("the proof is given", "always", "yes" if kept else "no", kept),
        ],
        figures=found,
        load_averages=loads,
    )


def main() -> None:
    parser = results.parser(__doc__)
    parser.set_defaults(rounds=None)
    parser.add_argument("--series", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.series is not None:
        print(json.dumps(deface_once(given.series, given.out)), flush=True)
        return
    scale, loads = 2 if given.short else 1, [results.load_average()]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        series = Path(name) / "series"
        write_head(series, scale)
        count = given.rounds or (1 if given.short else 3)
        found = [in_a_child(series, Path(name) / f"out-{number}") for number in range(count)]
    sizes = " x ".join(str(n // scale) for n in (300, 512, 512))
    told = report(found, f"CT {sizes}", [*loads, results.load_average()])
    results.tell(told, given.json)


if __name__ == "__main__":
    main()
