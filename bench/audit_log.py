"""How many audit events per second several processes append, each in transactions of its own.

    python bench/audit_log.py [URL] [--processes 4] [--seconds 5] [--batch 1]

URL is an empty database to write into, by default a new SQLite file. `--batch` events go into each
transaction, as a receiver writes what waits. Prints one line.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time

from dicomnode.tracking import audit
from dicomnode.tracking.database import Database


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    with tempfile.TemporaryDirectory() as folder:
        parser.add_argument("url", nargs="?", default=f"sqlite:///{folder}/audit.sqlite")
        parser.add_argument("--processes", type=int, default=4)
        parser.add_argument("--seconds", type=float, default=5.0)
        parser.add_argument("--batch", type=int, default=1)
        given = parser.parse_args()
        database = Database(given.url)
        database.migrate()
        work = (given.url, time.monotonic() + 3 + given.seconds, given.batch)
        with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
            rates = pool.starmap(_append, [work] * given.processes, chunksize=1)
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    print(f"{kind}, {given.processes} processes, {given.batch} a time: {sum(rates):.0f} events/s")


def _append(url: str, until: float, batch: int) -> float:
    """Events per second of one process; monotonic clocks of one machine agree."""
    database, appended, begun = Database(url), 0, time.monotonic()
    while time.monotonic() < until:
        with database.begin() as connection:
            for _ in range(batch):
                audit.append(connection, "measured", "1.2.3", {"why": "bench", "n": appended})
        appended += batch
    return appended / (time.monotonic() - begun)


if __name__ == "__main__":
    main()
