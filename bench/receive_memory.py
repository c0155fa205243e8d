"""Memory of `dicomnode scp` while eight associations bring a gigabyte each.

    PYTHONPATH=. python bench/receive_memory.py [--associations 8] [--gigabytes 1] [--json FILE]

CT 512x512, sent by `raw_association.py` at once; resident memory of the receiver ten times on the
way, and its peak. The received files take as much space in `--folder`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

from bench import receivers, results
from bench.processes import peak_bytes, resident_bytes
from bench.receive import DISTINCT, replayed
from dicomnode.dicom.file_format import split_file
from tests.factories import make_series

MOST_BYTES = 300e6
FLAT = 1.1


def run(given: argparse.Namespace, folder: Path) -> tuple[list[list[str]], list[int], int, float]:
    """Rows of the table, resident bytes at each tenth, peak bytes, seconds."""
    paths = make_series(folder / "made", modality="CT", rows=512, columns=512, slices=DISTINCT)
    sop_class = split_file(paths[0].read_bytes())[0].sop_class_uid
    each = max(int(given.gigabytes * 1e9 / paths[0].stat().st_size), 10)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(given.associations) as pool, receivers.node(folder / "node") as node:
        replayed(pool, paths, sop_class, node.port, [1] * given.associations)
        wanted, began, pid = each * given.associations, time.monotonic(), node.process.pid
        counts = [each] * given.associations
        sending = threading.Thread(
            target=replayed, args=(pool, paths, sop_class, node.port, counts)
        )
        sending.start()
        rows, resident = list[list[str]](), list[int]()
        while sending.is_alive() or len(resident) < 10:
            stored = node.stored() - given.associations
            if stored >= wanted * (len(resident) + 1) / 10 or not sending.is_alive():
                resident.append(resident_bytes(pid))
                gigabytes = stored * paths[0].stat().st_size / 1e9
                rows.append(
                    [f"{time.monotonic() - began:.0f}", f"{gigabytes:.1f}", _mb(resident[-1])]
                )
            time.sleep(0.5)
        if (kept := node.stored() - given.associations) != wanted:
            raise SystemExit(f"{wanted} images were sent and {kept} are held")
        return rows, resident, peak_bytes(pid), time.monotonic() - began


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f}"


def report(given: argparse.Namespace, loads: list[float]) -> results.Report:
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        rows, resident, peak, seconds = run(given, Path(name))
    growth = resident[-1] / resident[len(resident) // 2 - 1]
    return results.Report(
        title=f"Memory with {given.associations} associations of {given.gigabytes:g} GB each",
        columns=["after s", "GB received", "resident MB"],
        rows=rows,
        goals=[
            results.Goal(
                "peak of the process, under", "300 MB", f"{_mb(peak)} MB", peak < MOST_BYTES
            ),
            results.Goal("second half, at most", f"{FLAT}x", f"{growth:.2f}x", growth <= FLAT),
        ],
        figures={"resident": resident, "peak": peak, "seconds": seconds},
        load_averages=[*loads, results.load_average()],
    )


def main() -> None:
    parser = results.parser(__doc__)
    parser.add_argument("--associations", type=int, default=8)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    given = parser.parse_args()
    results.tell(report(given, [results.load_average()]), given.json)


if __name__ == "__main__":
    main()
