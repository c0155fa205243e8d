"""What the node's jobs layer costs beside the bare engine: pick-up, throughput of no-op jobs.

    PYTHONPATH=. python bench/engine.py [--jobs 10000] [--rounds 3] [--json FILE]

Both have the same database (SQLite), engine options, poll (0.1 s) and eight slots; a job of the
node is a series with its revision and an examination in which nothing is examined, recorded; one of
the engine a row and a workflow of one empty step. In turn, in processes of their own: twenty single
jobs on an idle engine; then an engine that starts on `--jobs` queued ones and does the first 400.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from bench import results
from bench.receivers import ROOT

SIDES = ("node", "engine")
DONE = 400
MOST = 1.5


def side(name: str, what: str, file: Path, jobs: int) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "bench" / "engine_side.py"), name, what]
    command += [f"sqlite:///{file}", "--jobs", str(jobs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def a_round(folder: Path, filled: dict[str, Path], order: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for what in ("idle", "queued"):
        for name in order:
            file = folder / "round.sqlite"
            if what == "queued":
                shutil.copyfile(filled[name], file)
            found[f"{name} {what}"] = side(name, what, file, DONE)
            for left in folder.glob("round.sqlite*"):
                left.unlink()
    return found


def run(folder: Path, jobs: int, rounds: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    filled = {name: folder / f"{name}.sqlite" for name in SIDES}
    enqueue_ms = {
        name: float(side(name, "fill", file, jobs)["enqueue_ms"]) for name, file in filled.items()
    }
    for file in filled.values():
        # What is still in the write-ahead log comes into the file that is copied.
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    orders = (SIDES, SIDES[::-1])
    return enqueue_ms, [a_round(folder, filled, orders[number % 2]) for number in range(rounds)]


def main() -> None:
    parser = results.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.set_defaults(rounds=3)
    given = parser.parse_args()
    jobs = DONE if given.short else given.jobs
    loads = [results.load_average()]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        enqueue_ms, found = run(Path(name), jobs, given.rounds)

    def values(side: str) -> tuple[list[float], list[float], list[float]]:
        idle = [statistics.median(each[f"{side} idle"]["pickup_ms"]) for each in found]
        first = [each[f"{side} queued"]["first_ms"] for each in found]
        return idle, first, [each[f"{side} queued"]["jobs_a_second"] for each in found]

    ours, theirs = values("node"), values("engine")
    ratios = [
        results.ratio(ours[0], theirs[0]),
        results.ratio(ours[1], theirs[1]),
        results.ratio(theirs[2], ours[2]),
    ]
    rows = [
        [side, f"{enqueue_ms[side]:.1f}", *(f"{statistics.median(v):.0f}" for v in each)]
        for side, each in (("node", ours), ("engine", theirs))
    ]
    rows.append(["ratio", f"{enqueue_ms['node'] / enqueue_ms['engine']:.2f}"])
    rows[-1] += [f"{ratio:.2f}" for ratio in ratios]
    what = ("pick-up by an idle engine", f"first of {jobs:,} queued", "throughput, engine by node")
    report = results.Report(
        title=f"Jobs that do nothing: idle, and {jobs:,} queued",
        columns=["", "enqueue, ms", "pick-up, idle, ms", "first of the queue, ms", "jobs/s"],
        rows=rows,
        remarks=[
            "SQLite, a poll each 0.1 s, eight slots. Ratios: how many times the engine's time the "
            "node takes."
        ],
        goals=[
            results.Goal(f"{name}: at most", f"{MOST}x the engine", f"{ratio:.2f}x", ratio <= MOST)
            for name, ratio in zip(what, ratios, strict=True)
        ],
        figures={"enqueue_ms": enqueue_ms, "rounds": found},
        load_averages=[*loads, results.load_average()],
    )
    results.tell(report, given.json)


if __name__ == "__main__":
    main()
