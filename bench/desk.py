"""How long the pages of the review desk take, in a real Chromium, from click to the last picture.

    python bench/desk.py --rounds 20

Makes a site of its own with drawn heads, starts `dicomnode web`, and opens each page again and
again. `answer` is until the first byte, `ready` until the page can be used, `whole` until the
last picture of the first volume is there; median and 95th percentile, milliseconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from dicomnode.domain import Role, VerdictKind
from dicomnode.web.desk.neighbours import series_href
from tests.desk_site import Site, drawn_pictures, make_site, running_desk
from tests.e2e.desk_browser import Person, chromium, person

TIMES = """
() => {
  const n = performance.getEntriesByType("navigation")[0];
  return [n.responseStart, n.domContentLoadedEventEnd, n.loadEventEnd];
}
"""
ENOUGH = 55


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder))
        site.add_account("anna", Role.STEWARD)
        study, series = site.add("first", "T1", VerdictKind.UNDETERMINED, pictures=drawn_pictures)
        for number in range(ENOUGH):
            site.add(f"study {number}", "T1", VerdictKind.DEFACED)
        pages = {
            "queue": "/desk/queue",
            "studies, 50 with decisions": "/desk/studies",
            "study": f"/desk/studies/{study}",
            "series, 14 pictures": series_href(study, series),
        }
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, {rounds} rounds")
        with running_desk(site), chromium() as browser, person(browser, site) as anna:
            anna.log_in("anna")
            for name, path in pages.items():
                _measure(anna, site, name, path, rounds)


def _measure(anna: Person, site: Site, name: str, path: str, rounds: int) -> None:
    """The first time is told alone: the browser has no picture yet."""
    times = [_open(anna, path) for _ in range(rounds + 1)]
    first = " ".join(f"{part:.0f}" for part in times[0])
    parts = zip(("answer", "ready", "whole"), zip(*times[1:], strict=True), strict=True)
    told = ", ".join(f"{part} {_percentiles(values)}" for part, values in parts)
    print(f"{name}: {told} ms (first time {first} ms)")


def _open(anna: Person, path: str) -> Sequence[float]:
    page = anna.go(path)
    page.wait_for_load_state("load")
    return [float(value) for value in page.evaluate(TIMES)]


def _percentiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.0f} (95%: {ordered[int(0.95 * len(ordered)) - 1]:.0f})"


if __name__ == "__main__":
    main()
