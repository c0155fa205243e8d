"""Where the time of one examination goes, as a flame graph: docs/examination.svg.

    PYTHONPATH=. python bench/flame.py [--scale 1] [--out docs/examination.svg]

The drawn CT of `bench/examine.py`, as a DICOM series: headers, pixels, three starter networks,
evidence, SEG with its verification, pictures. The main thread is looked at every 10 ms; what other
processes do for it counts as waiting. Boxes are functions, as wide as their share of the time
(hover for seconds), each above the one that called it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import FrameType

from bench.examine import CASES, draw
from dicomnode.config import InferenceSettings, Settings
from dicomnode.dicom.nifti import read_nifti
from dicomnode.domain import Revision
from dicomnode.inference.examine import examine
from dicomnode.inference.models import STARTER_FOLDER, load_manifest
from dicomnode.inference.nnunet import load_networks
from tests.factories import make_series

STEP_SECONDS = 0.01
WIDTH, ROW, LEAST_SHARE = 1200.0, 17, 0.003
# By the package of a function: this project, networks, arrays, DICOM libraries, all else.
COLOURS = {
    "dicomnode": "#8fbcdb",
    "torch": "#f4a582",
    "nnunetv2": "#f7c6a8",
    "numpy": "#b8e0b0",
    "scipy": "#b8e0b0",
    "pydicom": "#d9c2e9",
    "highdicom": "#d9c2e9",
}
OTHER = "#dddddd"
Stack = tuple[str, ...]


@dataclass
class Node:
    """One function below its caller; `count`: samples that it was seen in."""

    name: str
    count: int = 0
    below: dict[str, Node] = field(default_factory=dict)


class Sampler:
    """Looks at one thread until it is stopped."""

    def __init__(self) -> None:
        self.stacks: Counter[Stack] = Counter()
        self._watched = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(STEP_SECONDS):
            frame = sys._current_frames()[self._watched]
            self.stacks[tuple(reversed(list(_names(frame))))] += 1


def _names(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "?"))
        yield f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back


def tree(stacks: Counter[Stack], first: str) -> Node:
    """Everything above the function `first`."""
    root = Node(first)
    for stack, count in stacks.items():
        if first not in stack:
            continue
        root.count += count
        node = root
        for name in stack[stack.index(first) + 1 :]:
            node = node.below.setdefault(name, Node(name))
            node.count += count
    return root


def svg(root: Node, seconds: float, title: str) -> str:
    boxes = list(_boxes(root, 0.0, 0, root.count))
    height = (max(depth for *_, depth in boxes) + 1) * ROW + 30
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{height}" '
        f'viewBox="0 0 {WIDTH:.0f} {height}" font-family="sans-serif" font-size="11">',
        f'<text x="4" y="15" font-size="13">{escape(title)}</text>',
    ]
    for node, left, width, depth in boxes:
        y = height - (depth + 1) * ROW
        spent = f"{seconds * node.count / root.count:.2f} s, {node.count / root.count:.1%}"
        colour = COLOURS.get(node.name.split(".")[0], OTHER)
        said = node.name.removeprefix("dicomnode.")[: max(0, int(width / 6.3))]
        drawn.append(
            f'<g><title>{escape(node.name)}: {spent}</title><rect x="{left:.1f}" y="{y}" '
            f'width="{max(width - 0.5, 0.2):.1f}" height="{ROW - 1}" fill="{colour}"/>'
            + (f'<text x="{left + 2:.1f}" y="{y + 12}">{escape(said)}</text>' if width > 30 else "")
            + "</g>"
        )
    return "\n".join([*drawn, "</svg>", ""])


def _boxes(
    node: Node, left: float, depth: int, whole: int
) -> Iterator[tuple[Node, float, float, int]]:
    width = WIDTH * node.count / whole
    if node.count / whole < LEAST_SHARE:
        return
    yield node, left, width, depth
    for child in sorted(node.below.values(), key=lambda each: each.name):
        yield from _boxes(child, left, depth + 1, whole)
        left += WIDTH * child.count / whole


def series(folder: Path, scale: int) -> Revision:
    volume = read_nifti(draw("CT", folder / "drawn", scale))
    _, (z_mm, y_mm, x_mm), _ = CASES["CT"]
    slices, rows, columns = volume.array.shape
    paths = make_series(
        folder / "series",
        modality="CT",
        slices=slices,
        rows=rows,
        columns=columns,
        volume=volume.array,
        pixel_spacing_mm=(y_mm * scale, x_mm * scale),
        slice_spacing_mm=z_mm * scale,
        intercept=-1024.0,
    )
    return Revision(0, 1, "drawn", "1.2.3", "1.2.3.4", "CT", tuple(paths))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=int, default=1, help="divides each side")
    parser.add_argument("--out", type=Path, default=Path("docs/examination.svg"))
    parser.add_argument("--folder", type=Path, help="where temporary files lie")
    given = parser.parse_args()
    networks = load_networks(load_manifest(STARTER_FOLDER), InferenceSettings(device="cpu"))
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        revision = series(Path(name), given.scale)
        began = time.perf_counter()
        with Sampler() as sampler:
            found = examine(revision, networks, Settings(), Path(name, "out"))
        seconds = time.perf_counter() - began
    if len(found.volumes) != 1:
        raise SystemExit(f"no volume: {found.set_aside}")
    shape = " x ".join(str(n // given.scale) for n in CASES["CT"][0])
    title = f"Examination of a CT of {shape} by three starter networks, CPU: {seconds:.1f} s"
    root = tree(sampler.stacks, "dicomnode.inference.examine.examine")
    given.out.write_text(svg(root, seconds, title), encoding="utf-8")
    print(f"{given.out}: {title}")


if __name__ == "__main__":
    main()
