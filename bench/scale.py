"""How fast gate and review desk answer in a database as large as a site's.

    PYTHONPATH=. python bench/scale.py FOLDER [--series 1000000] [--database sqlite|postgresql]

Makes the database in FOLDER (SQLite, and a private PostgreSQL server with its data there), which
takes about half an hour for a million series; one that is there is used again. Then it asks what
the gate and the pages ask, of studies drawn at random, prints a table and writes a JSON file there.
Times are what a caller waits; `cpu` is how long a processor was at work for a call, here and in
the server, which depends less on what else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.scale_rows import EXAMINER, SERIES_A_STUDY, SUBJECT, fill, study_uid
from dicomnode.config import GateSettings
from dicomnode.domain import Subject
from dicomnode.gate.policy import Policy
from dicomnode.gate.studies import decide_studies
from dicomnode.tracking import audit, outdated, receipts, reviews, study_list, totals, work_queue
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.states import SeriesState
from dicomnode.tracking.status import study_status
from dicomnode.tracking.study_list import StudyFilter
from dicomnode.tracking.timeline import timeline
from dicomnode.tracking.work_queue import QueueKind
from tests import postgres

Ask = Callable[[int], object]
POLICY = Policy("default", GateSettings())
FILTERS = {
    "no filter": StudyFilter(),
    "FACE_VISIBLE": StudyFilter(verdict="FACE_VISIBLE"),
    "NO_FACE_IN_VIEW": StudyFilter(verdict="NO_FACE_IN_VIEW"),
    "failed": StudyFilter(state=SeriesState.FAILED),
    "receiving": StudyFilter(state=SeriesState.RECEIVING),
    "refused": StudyFilter(state=SeriesState.REFUSED),
    "rare modality": StudyFilter(modality="NM"),
    "no such modality": StudyFilter(modality="XX"),
    "decided": StudyFilter(decided=True),
    "one day": StudyFilter(
        received_from=datetime(2021, 6, 1, tzinfo=UTC),
        received_until=datetime(2021, 6, 2, tzinfo=UTC),
    ),
    "rare modality, decided, NO_FACE_IN_VIEW": StudyFilter(
        verdict="NO_FACE_IN_VIEW", modality="NM", decided=True
    ),
}


@dataclass(frozen=True)
class Measured:
    """Milliseconds; `first_ms` is that of the first call of its kind."""

    what: str
    calls: int
    first_ms: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--cold", action="store_true", help="first out of the page cache with it")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.cold:
        _out_of_the_page_cache(given.folder)
    for kind in given.database or ("sqlite", "postgresql"):
        with _url(kind, given.folder) as url:
            database = Database(url)
            database.migrate()
            print(f"{kind}: {given.series:,} series", flush=True)
            fill(database, given.series)
            found = list(_measure(database, given.series // SERIES_A_STUDY))
            database.close()
        report = {
            "machine": _machine(),
            "series": given.series,
            "measured": list(map(asdict, found)),
        }
        (given.folder / f"{kind}.json").write_text(json.dumps(report, indent=1))


def _out_of_the_page_cache(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/scale.sqlite"
    else:
        options = "-c shared_buffers=1GB -c effective_cache_size=4GB -c random_page_cost=1.1"
        with postgres.server(folder / "postgresql", options) as url:
            yield url


def _measure(database: Database, studies: int) -> Iterator[Measured]:
    draw = random.Random(5)

    def uid(_: int) -> str:
        return study_uid(draw.randint(1, studies))

    busy_seconds = _busy_seconds(database)
    for what, calls, ask in _questions(database, uid):
        measured = _times(what, calls, ask, busy_seconds)
        print(
            f"  {what:48} {calls:5}x  first {measured.first_ms:9.1f}  p50 {measured.p50_ms:9.1f}"
            f"  p95 {measured.p95_ms:9.1f}  cpu {measured.cpu_ms:9.1f} ms",
            flush=True,
        )
        yield measured


def _times(what: str, calls: int, ask: Ask, busy_seconds: Callable[[], float]) -> Measured:
    took, busy = [], busy_seconds()
    for number in range(calls):
        began = time.perf_counter()
        ask(number)
        took.append((time.perf_counter() - began) * 1000)
    cpu = (busy_seconds() - busy) * 1000 / calls
    p95 = statistics.quantiles(took, n=20)[-1] if calls > 1 else took[0]
    return Measured(what, calls, took[0], statistics.median(took), p95, cpu)


def _busy_seconds(database: Database) -> Callable[[], float]:
    """Of this process, and of PostgreSQL's that answers it; there is one, for one connection."""
    if database.is_sqlite:
        return time.process_time
    with database.read() as connection:
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
    ticks_a_second = os.sysconf("SC_CLK_TCK")

    def busy() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return time.process_time() + (int(fields[11]) + int(fields[12])) / ticks_a_second

    return busy


def _questions(database: Database, uid: Callable[[int], str]) -> Iterator[tuple[str, int, Ask]]:
    def reading(ask: Callable[[Any, int], object]) -> Ask:
        def asked(number: int) -> object:
            with database.read() as connection:
                return ask(connection, number)

        return asked

    yield "gate: one study", 500, lambda n: decide(database, [uid(n)])
    yield (
        "gate: a list of 10,000 studies",
        1,
        lambda n: decide(database, [uid(n) for n in range(10_000)]),
    )
    yield "study status", 200, reading(lambda c, n: study_status(c, uid(n), wanted_digest))
    yield "timeline", 200, reading(lambda c, n: timeline(c, uid(n)))
    yield from _list_questions(database, reading)
    searches = {"study": uid(0), "series": uid(0) + ".2", "instance": uid(0) + ".1.7"}
    for what, given in (*searches.items(), ("beginning of many", "1.3.12.2.1107.5.3.")):
        yield f"search: {what}", 20, reading(_of_all(study_list.search, given))
    for kind in QueueKind:
        yield f"queue: {kind}", 20, reading(_of_all(work_queue.page, kind))
    yield "queue: counts of all kinds", 20, reading(lambda c, _: work_queue.counts(c))
    yield "for review: page", 20, reading(lambda c, _: reviews.page(c))
    yield "for review: count", 20, reading(lambda c, _: reviews.count(c))
    yield "for review: next", 20, reading(lambda c, n: reviews.next_for_review(c, n * 9000))
    yield "receipts of a study", 50, reading(lambda c, n: receipts.newest(c, 50, uid(n)))
    yield "audit log: newest", 20, reading(lambda c, _: audit.newest(c, 50))
    yield "audit log: of a subject", 50, reading(lambda c, n: audit.newest(c, 50, subject=uid(n)))
    now = datetime.now(UTC)
    yield "worker: what is complete", 3, reading(lambda c, _: unrevised(c, now))
    yield "metrics: totals", 2, reading(lambda c, _: totals.totals(c))
    yield "metrics: outdated", 3, reading(lambda c, _: outdated.count(c, wanted_digest))


def _list_questions(
    database: Database, reading: Callable[[Callable[[Any, int], object]], Ask]
) -> Iterator[tuple[str, int, Ask]]:
    """The first page of each filter with the decisions that stand on it, deep pages, counts."""

    def with_decisions(wanted: StudyFilter, after: str = "") -> Ask:
        def asked(_: int) -> None:
            with database.read() as connection:
                page = study_list.page(connection, wanted, after)
            decide(database, [row.study_instance_uid for row in page.rows])

        return asked

    deep = "2022-06-01T00:00:00+00:00_1.2"
    yield "list: deep page", 20, reading(lambda c, _: study_list.page(c, after=deep))
    yield "list: deep page, with 50 decisions", 20, with_decisions(StudyFilter(), deep)
    for name, wanted in FILTERS.items():
        yield f"list: {name}", 20, reading(_of_all(study_list.page, wanted))
        yield f"list: {name}, with 50 decisions", 20, with_decisions(wanted)
        yield f"count: {name}", 10, reading(_of_all(study_list.count, wanted))


def _of_all(ask: Callable[..., object], given: object) -> Callable[[Any, int], object]:
    """A question that does not depend on the study."""
    return lambda c, _: ask(c, given)


def decide(database: Database, uids: Sequence[str]) -> None:
    found = list(decide_studies(database, uids, POLICY, wanted_digest))
    assert all(decision.outcome != "unknown_study" for decision in found)


def wanted_digest(subjects: Sequence[Subject]) -> str:
    assert set(subjects) <= {SUBJECT, Subject("", "", SUBJECT.spacing_mm)}
    return EXAMINER


def _machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "model": models[0] if models else platform.processor(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
