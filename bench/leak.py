"""Whether the worker and its examining process grow: resident memory over many series.

    PYTHONPATH=. python bench/leak.py --series 200 [--networks starter]

The node on loopback receives, examines and delivers that many series, one after another; after
each tenth one line says what the worker and its child hold. The growth is that of the second half,
by a straight line. Exit code 1 where it is more than `--most-percent` of what was held halfway.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.small_site import SMALL_ROLES, Sender, make_site, running_node, running_pacs
from dicomnode.app.supervisor import PROGRAM
from tests.e2e.site import processes

ROLES = ("work", "child of work")


def resident_mb(root: int) -> dict[str, float]:
    """Of the worker and the examining process below `serve`; empty where one is not there."""
    found = {what: pid for pid, what in processes(root).items() if what in ROLES}
    try:
        return {what: _resident_mb(found[what]) for what in ROLES}
    except (KeyError, OSError, StopIteration):
        return {}


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def watch(folder: Path, series: int, program: tuple[str, ...]) -> list[dict[str, float]]:
    """What was held after each series that came to the PACS."""
    site, held = make_site(folder), list[dict[str, float]]()
    sender = Sender(folder / "sent", site.port)
    with running_pacs(site.pacs_port) as pacs, running_node(site.config, site.log, program) as root:

        def pause_seconds() -> float:
            if sender.series >= series:
                sender.stop.set()
            return 0.1

        sending = threading.Thread(target=sender.run, args=(pause_seconds,))
        sending.start()
        while len(held) < series:
            time.sleep(0.2)
            if len(pacs.got) > len(held) and (now := resident_mb(root())):
                held += [now] * (len(pacs.got) - len(held))
                if len(held) % 10 == 0:
                    print(len(held), {what: f"{mb:.0f} MB" for what, mb in now.items()}, flush=True)
        sending.join()
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--networks", choices=["threshold", "starter"], default="threshold")
    parser.add_argument("--most-percent", type=float, default=2.0)
    options = parser.parse_args()
    program = SMALL_ROLES if options.networks == "threshold" else PROGRAM
    with tempfile.TemporaryDirectory(prefix="dicomnode-leak-") as folder:
        held = watch(Path(folder), options.series, program)
    grew = False
    for what in ROLES:
        late = np.array([each[what] for each in held[len(held) // 2 :]])
        slope_mb, _ = np.polyfit(np.arange(len(late)), late, 1)
        percent = 100 * slope_mb * len(late) / late[0]
        grew |= percent > options.most_percent
        print(
            f"{what}: {late[0]:.1f} MB after {len(held) // 2} series, {late[-1]:.1f} MB after "
            f"{len(held)}; {1000 * slope_mb:.1f} kB a series, {percent:.2f} %"
        )
    sys.exit(grew)


if __name__ == "__main__":
    main()
