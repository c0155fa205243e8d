"""Examination by three networks against nnU-Net's own command, once for each network.

    PYTHONPATH=. python bench/examine.py [--short] [--rounds 5] [--cases CT MR] [--json FILE]
    PYTHONPATH=. python bench/examine.py --networks random --patch 192 128 --device cuda --cases CT

A drawn head, as a NIfTI file of int16: CT 300 x 512 x 512 (1 x 0.5 x 0.5 mm) and MR
192 x 256 x 256 (1 mm); `--scale N` divides each side. The node's process has its networks loaded,
as in service, and reads the file, examines it, writes masks and pictures, and judges;
`nnUNetv2_predict_from_modelfolder --disable_tta` (as the node's default) starts, loads, predicts
and writes for each network. `other than forward` is the share of the whole that is not spent in
networks. Memory is the largest sum over a process and its children, shared pages counted once
(PSS). Networks: the starters, or of released sizes with random weights (`--networks random`: a
network for each `--patch`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench import results
from bench.processes import cpu_seconds, watched_memory
from bench.random_networks import write_networks
from dicomnode.inference.models import STARTER_FOLDER, Model, load_manifest
from dicomnode.training.drawn import draw_head

COMMAND = Path(sys.executable).with_name("nnUNetv2_predict_from_modelfolder")
NODE, PEER = "dicomnode", "nnU-Net's command"
Modality = Literal["CT", "MR"]
# (slice, row, column): voxels, millimetres, and voxels of each that are drawn as one.
CASES: dict[Modality, tuple[tuple[int, int, int], tuple[float, float, float], tuple[int, ...]]] = {
    "CT": ((300, 512, 512), (1.0, 0.5, 0.5), (2, 4, 4)),
    "MR": ((192, 256, 256), (1.0, 1.0, 1.0), (2, 2, 2)),
}
COLUMNS = (
    "",
    "seconds",
    "of it forward",
    "other than forward",
    "CPU seconds",
    "of it other than forward",
    "peak MB",
    "lowest Dice",
)


@dataclass(frozen=True)
class Run:
    """One examination; `dice`: of each kind with the other program's mask."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    forward_seconds: float = 0.0
    forward_cpu_seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    dice: dict[str, float] = field(default_factory=dict)
    differing_voxels: dict[str, int] = field(default_factory=dict)


def draw(modality: Modality, folder: Path, scale: int) -> Path:
    """The file, named as nnU-Net wants it; drawn coarsely and filled in, since drawing is slow."""
    import nibabel
    from scipy import ndimage

    shape, spacing_mm, factors = CASES[modality]
    coarse_mm = spacing_mm[0] * factors[0] * scale
    coarse = tuple(n // f // scale for n, f in zip(shape, factors, strict=True))
    head = draw_head(1, modality, coarse_mm, coarse)  # type: ignore[arg-type]
    fine = ndimage.zoom(head.array, factors, order=1, grid_mode=True, mode="nearest")
    rng = np.random.default_rng(2)
    noise = rng.integers(-6, 7, fine.shape, np.int16)
    array = (fine.astype(np.int16) + noise).transpose(2, 1, 0)
    affine = np.diag([-spacing_mm[2], -spacing_mm[1], spacing_mm[0], 1.0])
    affine[:3, :3] *= scale
    affine[:3, 3] = [125.0, 115.0, -140.0]
    image = nibabel.Nifti1Image(array, affine)  # type: ignore[no-untyped-call]
    image.set_qform(affine, 1)  # type: ignore[no-untyped-call]
    image.set_sform(affine, 1)  # type: ignore[no-untyped-call]
    folder.mkdir(parents=True)
    path = folder / "case_0000.nii.gz"
    image.to_filename(path)
    return path


class Node:
    """The process that keeps its networks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.load_seconds = self._answer()["load_seconds"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the node's process ended; what it said stands above")
        return dict(json.loads(line))

    def examine(self, path: Path, out: Path) -> Run:
        assert self._process.stdin is not None
        pid = self._process.pid
        before = cpu_seconds(pid)
        with watched_memory(pid) as peak:
            print(json.dumps({"path": str(path), "out": str(out)}), file=self._process.stdin)
            self._process.stdin.flush()
            answer = self._answer()
        spent = cpu_seconds(pid) - before
        forward = answer["forward_seconds"], answer["forward_cpu_seconds"]
        return Run(answer["seconds"], spent, peak(), *forward, answer["steps"])


@contextmanager
def node(models: Path, device: str) -> Iterator[Node]:
    script = Path(__file__).with_name("examine_node.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(models), device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Node(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def predict(models: Sequence[Model], path: Path, out: Path, device: str) -> Run:
    """By nnU-Net's command, one network after the other."""
    peak_bytes, cpu = 0, 0.0
    environment = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet")}
    began, cpu_before = time.perf_counter(), sum(os.times()[2:4])
    for model in models:
        command = [str(COMMAND), "-i", str(path.parent), "-o", str(out / model.identity.kind.value)]
        command += ["-m", str(model.folder), "-f", *model.folds, "-chk", model.checkpoint]
        command += ["--disable_tta", "-device", device, "--disable_progress_bar"]
        with (path.parent.parent / "nnunet.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            with watched_memory(process.pid) as peak:
                process.wait()
        peak_bytes = max(peak_bytes, peak())
        if process.returncode:
            raise SystemExit(f"nnU-Net failed; see {path.parent.parent / 'nnunet.log'}")
    cpu = sum(os.times()[2:4]) - cpu_before
    return Run(time.perf_counter() - began, cpu, peak_bytes)


def compare(models: Sequence[Model], ours: Path, theirs: Path) -> tuple[dict[str, Any], ...]:
    """Dice, and the number of voxels that differ, by kind."""
    dice, differing = {}, {}
    for kind in (model.identity.kind.value for model in models):
        one, other = (
            _mask(file) for file in (ours / f"{kind}.nii.gz", theirs / kind / "case.nii.gz")
        )
        both, either = int((one & other).sum()), int(one.sum()) + int(other.sum())
        dice[kind] = 2 * both / either if either else 1.0
        differing[kind] = int(np.count_nonzero(one != other))
    return dice, differing


def _mask(file: Path) -> NDArray[np.bool_]:
    import nibabel

    return np.asarray(nibabel.load(file).dataobj) > 0  # type: ignore[attr-defined]


def run(case: Modality, given: argparse.Namespace, models_folder: Path) -> dict[str, list[Run]]:
    models = load_manifest(models_folder)
    found: dict[str, list[Run]] = {NODE: [], PEER: []}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        path = draw(case, folder / "images", given.scale)
        with node(models_folder, given.device) as ours:
            for number in range(given.rounds):
                out = folder / str(number)
                turns = [NODE, PEER] if given.peer else [NODE]
                done = {
                    way: ours.examine(path, out / "node")
                    if way == NODE
                    else predict(models, path, out / "peer", given.device)
                    for way in (turns if number % 2 == 0 else turns[::-1])
                }
                told = {}
                if given.peer:
                    dice, differing = compare(models, out / "node", out / "peer")
                    told = {"dice": dice, "differing_voxels": differing}
                    found[PEER].append(done[PEER])
                found[NODE].append(Run(**asdict(done[NODE]) | told))
    return {way: runs for way, runs in found.items() if runs}


def rows(case: str, found: dict[str, list[Run]]) -> Iterator[list[str]]:
    for way, runs in found.items():
        total = median(each.seconds for each in runs)
        yield [
            f"{case}, {way}",
            f"{total:.1f}",
            f"{median(each.forward_seconds for each in runs):.1f}" if way == NODE else "",
            f"{100 * overhead(runs):.0f} %" if way == NODE else "",
            f"{median(each.cpu_seconds for each in runs):.1f}",
            f"{100 * median(map(cpu_overhead, runs)):.0f} %" if way == NODE else "",
            f"{max(each.peak_bytes for each in runs) / 1e6:.0f}",
            f"{min(min(each.dice.values()) for each in runs):.6f}" if runs[0].dice else "",
        ]


def overhead(runs: Sequence[Run]) -> float:
    """Of all that time, the part that is no forward pass."""
    return median(1 - each.forward_seconds / each.seconds for each in runs)


def cpu_overhead(one: Run) -> float:
    """The same of processor time, which a busy machine does not stretch."""
    return 1 - one.forward_cpu_seconds / one.cpu_seconds


def goals(case: str, found: dict[str, list[Run]], device: str) -> Iterator[results.Goal]:
    ours = found[NODE]
    other = overhead(ours)
    yield results.Goal(
        f"{case}: other than forward passes at most", "20 %", f"{100 * other:.0f} %", other <= 0.2
    )
    if PEER not in found:
        return
    theirs, wanted = found[PEER], 0.6 if device == "cpu" else 0.3
    time_ratio = results.ratio([r.seconds for r in ours], [r.seconds for r in theirs])
    memory = results.ratio([r.peak_bytes for r in ours], [r.peak_bytes for r in theirs])
    dice = min(min(each.dice.values()) for each in ours)
    differing = max(max(each.differing_voxels.values()) for each in ours)
    yield results.Goal(
        f"{case}: at most", f"{wanted}x nnU-Net", f"{time_ratio:.2f}x", time_ratio <= wanted
    )
    yield results.Goal(f"{case}: peak memory at most", "0.5x", f"{memory:.2f}x", memory <= 0.5)
    said = f"{dice:.7f}, {differing} voxels differ in the worst mask"
    yield results.Goal(f"{case}: Dice with nnU-Net's masks", "1.0", said, dice >= 1.0)


def report(
    given: argparse.Namespace, found: dict[str, dict[str, list[Run]]], loads: Sequence[float]
) -> results.Report:
    sizes = ", ".join(
        f"{case} {' x '.join(str(n // given.scale) for n in CASES[case][0])}"  # type: ignore[index]
        for case in found
    )
    return results.Report(
        title=f"Examination: {given.networks} networks, {given.device}, {sizes}",
        columns=COLUMNS,
        rows=[row for case, runs in found.items() for row in rows(case, runs)],
        remarks=[f"Steps of the node, seconds: {steps(found)}."],
        goals=[goal for case, runs in found.items() for goal in goals(case, runs, given.device)],
        figures={
            case: {way: [asdict(one) for one in runs] for way, runs in ways.items()}
            for case, ways in found.items()
        },
        load_averages=loads,
    )


def steps(found: dict[str, dict[str, list[Run]]]) -> str:
    told = []
    for case, ways in found.items():
        names = ways[NODE][0].steps
        spent = (f"{name} {median(r.steps[name] for r in ways[NODE]):.2f}" for name in names)
        told.append(f"{case} {', '.join(spent)}")
    return "; ".join(told)


def main() -> None:
    parser = results.parser(__doc__)
    parser.set_defaults(rounds=None)
    parser.add_argument("--cases", nargs="+", choices=CASES, help="default both, with --short MR")
    parser.add_argument("--scale", type=int, help="divides each side; default 1, with --short 2")
    parser.add_argument("--networks", choices=("starter", "random"), default="starter")
    parser.add_argument("--patch", type=int, nargs="+", default=[192, 128], metavar="VOXELS")
    parser.add_argument("--features", type=int, default=32, help="of random networks")
    parser.add_argument("--spacing-mm", type=float, default=1.0, help="of random networks")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="the node alone")
    given = parser.parse_args()
    given.scale = given.scale or (2 if given.short else 1)
    given.rounds = given.rounds or (1 if given.short else 5)
    given.cases = given.cases or (["MR"] if given.short else list(CASES))
    loads = [results.load_average()]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        models = STARTER_FOLDER
        if given.networks == "random":
            models = Path(name)
            write_networks(models, given.patch, given.features, given.spacing_mm)
        found = {case: run(case, given, models) for case in given.cases}
    results.tell(report(given, found, [*loads, results.load_average()]), given.json)


if __name__ == "__main__":
    main()
