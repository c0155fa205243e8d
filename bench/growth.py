"""What grows with what is stored: receive, index, status and gate at 10^4 to 10^6 instances.

    PYTHONPATH=. python bench/growth.py [--rounds 5] [--json FILE] [--plot docs/growth.svg]

Makes a database of each size (SQLite, rows of `scale_rows.py`; 1 GB for the largest) in a
temporary folder, and asks them in turn. A round is 200 MR images over one association to `dicomnode
scp`, 20 transactions of 20 instances each, the status of 100 studies, and 100 decisions of the
gate. Processor time of the node is judged, since other programs wait in the same queue as it.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench import results
from bench.growth_plot import plot
from bench.processes import cpu_seconds
from bench.receive import replay
from bench.receivers import ROOT, running
from bench.scale import decide, wanted_digest
from bench.scale_rows import SERIES_A_STUDY, fill, study_uid
from dicomnode.dicom.file_format import split_file
from dicomnode.domain import InstanceHeader, StoredInstance
from dicomnode.tracking import instances
from dicomnode.tracking.database import Database
from dicomnode.tracking.status import study_status
from tests.factories import make_series
from tests.ports import free_ports

INSTANCES_A_SERIES = 10
SIZES = (10_000, 100_000, 1_000_000)
IMAGES, TRANSACTIONS, TOGETHER, ASKED = 200, 20, 20, 100
# Between two measurements of one and the same database lies as much.
NOISE = 1.15
Milliseconds = tuple[float, float]


@dataclass
class Site:
    """A database of one size, and `dicomnode scp` on it. `found`: wall and processor milliseconds
    for one, of every round."""

    size: int
    database: Database
    port: int
    pid: int
    found: dict[str, list[Milliseconds]] = field(default_factory=dict)

    @property
    def studies(self) -> int:
        return self.size // INSTANCES_A_SERIES // SERIES_A_STUDY


@contextmanager
def site(size: int, folder: Path) -> Iterator[Site]:
    folder.mkdir()
    url = f"sqlite:///{folder}/tracking.sqlite"
    database = Database(url)
    database.migrate()
    print(f"{size:,} instances", file=sys.stderr, flush=True)
    fill(database, size // INSTANCES_A_SERIES, lambda _: None)
    (port,) = free_ports(1)
    # Its files are nowhere; a receiver wants the place where they would be.
    (folder / "data" / "spool" / "objects").mkdir(parents=True)
    config = folder / "config.toml"
    config.write_text(
        f'[node]\ndata_folder = "{folder}/data"\n[database]\nurl = "{url}"\n'
        f"[scp]\nport = {port}\nminimum_free_bytes = 0\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "dicomnode.cli", "scp", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with running(command, folder / "log", port, environment) as process:
        yield Site(size, database, port, process.pid)
    database.close()


def receive(at: Site, images: Sequence[Path], sop_class: str) -> Milliseconds:
    """With the rows, which follow: until the receiver has had nothing to do for a second."""
    before = cpu_seconds(at.pid)
    began, ended = replay(at.port, images, sop_class, IMAGES)
    busy = cpu_seconds(at.pid)
    while True:
        time.sleep(1.0)
        now = cpu_seconds(at.pid)
        if now - busy < 0.05:
            break
        busy = now
    return (ended - began) * 1000 / IMAGES, (now - before) * 1000 / IMAGES


def clocked(ask: Callable[[], object], times: int, ones: int) -> Milliseconds:
    """The medians of wall and processor time for one, of `ones` in each call."""
    walls, cpus = [], []
    for _ in range(times):
        began, busy = time.perf_counter(), time.process_time()
        ask()
        cpus.append(time.process_time() - busy)
        walls.append(time.perf_counter() - began)
    return statistics.median(walls) * 1000 / ones, statistics.median(cpus) * 1000 / ones


def a_round(at: Site, draw: random.Random, images: Sequence[Path], sop_class: str) -> None:
    def uid() -> str:
        return study_uid(draw.randint(1, at.studies))

    def index() -> None:
        with at.database.begin() as connection:
            instances.add(connection, arrived(uid(), draw))

    def status() -> None:
        with at.database.read() as connection:
            study_status(connection, uid(), wanted_digest)

    found = {
        "receive, an instance": receive(at, images, sop_class),
        "index, an instance": clocked(index, TRANSACTIONS, TOGETHER),
        "status of a study": clocked(status, ASKED, 1),
        "gate decision": clocked(lambda: decide(at.database, [uid()]), ASKED, 1),
    }
    for what, milliseconds in found.items():
        at.found.setdefault(what, []).append(milliseconds)


def arrived(study: str, draw: random.Random) -> list[StoredInstance]:
    """A new series of a study that is known."""
    series = f"{study}.{draw.getrandbits(60)}"
    at = datetime.now(UTC)
    names = [f"{series}.{number}" for number in range(TOGETHER)]
    sop_class, syntax = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1"
    headers = [InstanceHeader(sop_class, name, study, series, syntax, "MR") for name in names]
    digest = "cd" * 32
    return [
        StoredInstance(one, f"{draw.getrandbits(160):040x}.dcm", 1, digest, digest, digest, at)
        for one in headers
    ]


def medians(at: Site, what: str) -> Milliseconds:
    walls, cpus = zip(*at.found[what], strict=True)
    return statistics.median(walls), statistics.median(cpus)


def report(sites: Sequence[Site], loads: Sequence[float]) -> results.Report:
    logarithmic = math.log(sites[-1].size) / math.log(sites[0].size)
    allowed = logarithmic * NOISE
    rows, goals = [], []
    for what in sites[0].found:
        told = [medians(at, what) for at in sites]
        growth = told[-1][1] / told[0][1]
        cells = [f"{wall:.2f} ({cpu:.2f})" for wall, cpu in told]
        rows.append([what, *cells, f"{growth:.2f}x"])
        goals.append(
            results.Goal(
                f"{what}, from {sites[0].size:,} to {sites[-1].size:,}: at most",
                f"{allowed:.2f}x",
                f"{growth:.2f}x",
                growth <= allowed,
            )
        )
    return results.Report(
        title="Growth with what is stored (SQLite)",
        columns=["milliseconds", *(f"{at.size:,} instances" for at in sites), "growth"],
        rows=rows,
        remarks=[
            "Median wall time, and in brackets processor time of the node, which is judged. "
            f"Logarithmic growth is {logarithmic:.2f}x; {NOISE - 1:.0%} more are allowed, since "
            "two measurements of one size differ by as much."
        ],
        goals=goals,
        figures={at.size: at.found for at in sites},
        load_averages=loads,
    )


def main() -> None:
    parser = results.parser(__doc__)
    parser.add_argument("--plot", type=Path, help="draw the growth into this SVG file")
    given: argparse.Namespace = parser.parse_args()
    sizes = SIZES[:2] if given.short else SIZES
    loads, draw = [results.load_average()], random.Random(7)
    with tempfile.TemporaryDirectory(dir=given.folder) as name, ExitStack() as stack:
        folder = Path(name)
        images = make_series(folder / "images", rows=256, columns=256, slices=20, modality="MR")
        sop_class = split_file(images[0].read_bytes())[0].sop_class_uid
        sites = [stack.enter_context(site(size, folder / str(size))) for size in sizes]
        for number in range(given.rounds + 1):
            for at in sites:
                a_round(at, draw, images, sop_class)
                if number == 0:  # fills caches and loads what is loaded once
                    at.found.clear()
    told = report(sites, [*loads, results.load_average()])
    results.tell(told, given.json)
    if given.plot:
        lines = {
            what: [medians(at, what)[1] / medians(sites[0], what)[1] for at in sites]
            for what in sites[0].found
        }
        given.plot.write_text(plot([at.size for at in sites], lines), encoding="utf-8")


if __name__ == "__main__":
    main()
