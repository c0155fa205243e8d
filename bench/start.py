"""From the start of `dicomnode scp` to its first C-ECHO, against dcmtk's storescp.

    PYTHONPATH=. python bench/start.py [--rounds 5] [--json FILE]

In an empty data folder, where the first start makes the database, and in that of the start before.
Afterwards no process of the receiver may have a library of torch in its memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench import receivers, results
from bench.processes import cpu_seconds, maps_any
from bench.receivers import Receiver

LONGEST_SECONDS = 1.5
FIRST, AGAIN, DCMTK = "dicomnode scp, empty data folder", "dicomnode scp, again", "storescp"
Start = Callable[[Path], AbstractContextManager[Receiver]]


class Starts:
    """Seconds and processor seconds of each start of one kind."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.with_torch = False

    def add(self, start: Start, folder: Path) -> None:
        began = time.monotonic()
        with start(folder) as receiver:
            self.seconds.append(time.monotonic() - began)
            self.cpu_seconds.append(cpu_seconds(receiver.process.pid))
            self.with_torch = self.with_torch or maps_any(receiver.process.pid, "torch")

    def row(self, name: str) -> list[str]:
        middle, longest = statistics.median(self.seconds), max(self.seconds)
        spent = statistics.median(self.cpu_seconds)
        return [name, f"{middle:.2f}", f"{longest:.2f}", f"{spent:.2f}"]


def run(given: argparse.Namespace) -> dict[str, Starts]:
    found = {FIRST: Starts(), AGAIN: Starts(), DCMTK: Starts()}
    for _ in range(given.rounds + 1):
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            folder = Path(name)
            found[FIRST].add(receivers.node, folder / "node")
            found[AGAIN].add(receivers.node, folder / "node")
            found[DCMTK].add(receivers.storescp, folder / "storescp")
    for starts in found.values():  # the first round only brought the programs into memory
        del starts.seconds[0], starts.cpu_seconds[0]
    return found


def report(found: dict[str, Starts], loads: list[float]) -> results.Report:
    middle = max(statistics.median(found[name].seconds) for name in (FIRST, AGAIN))
    torch = any(starts.with_torch for starts in found.values())
    limit = f"{LONGEST_SECONDS} s"
    return results.Report(
        title="Start of the receiver to its first C-ECHO",
        columns=["", "seconds, median", "longest", "CPU seconds, median"],
        rows=[starts.row(name) for name, starts in found.items()],
        goals=[
            results.Goal("seconds, under", limit, f"{middle:.2f} s", middle < LONGEST_SECONDS),
            results.Goal("torch", "not imported", "imported" if torch else "it is not", not torch),
        ],
        figures={name: vars(starts) for name, starts in found.items()},
        load_averages=loads,
    )


def main() -> None:
    given = results.parser(__doc__).parse_args()
    loads = [results.load_average()]
    found = run(given)
    results.tell(report(found, [*loads, results.load_average()]), given.json)


if __name__ == "__main__":
    main()
