"""How long the gate takes over HTTP: one study at a time, and a list.

    python bench/gate_list.py sqlite:////tmp/large.sqlite --series 1000000   # fills it
    python bench/gate_http.py sqlite:////tmp/large.sqlite --studies 100000

Starts the HTTP role on loopback, gives all examinations the digest of the installed networks, asks
400 times for a study (a new connection each, as the role wants), then for a list. Beside the time
on the clock it says how long the server was at work, which hardly depends on what else runs.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

import httpx
import sqlalchemy as sa

from dicomnode.config import Settings
from dicomnode.domain import Role
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import verdicts_of_study
from tests.integration.scp.receiving import Node
from tests.integration.web.desk import desk_settings, make_token, origin, running_desk

ASKED, WARM_UP = 400, 20
STUDY = "1.2.826.0.1."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--studies", type=int, required=True, help="how many it holds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many = {"api_requests_per_minute": 1_000_000}
        settings = desk_settings(Path(folder), given.database, web=many)
        token = make_token(settings, "bench", Role.VIEWER)
        examined_by_what_is_installed(settings)
        headers = {"Authorization": f"Bearer {token}"}
        with (
            running_desk(settings, Path(folder)) as node,
            httpx.Client(base_url=f"{origin(settings)}/api/v1", headers=headers) as client,
        ):
            one_at_a_time(client, node, given.studies)
            a_list(client, node, given.studies)


def examined_by_what_is_installed(settings: Settings) -> None:
    database = Database(settings.database_url)
    with database.begin() as connection:
        (found, *_) = verdicts_of_study(connection, f"{STUDY}1")
        digest = installed_examiner(settings).wanted_digest(found.subjects)
        update = (
            "UPDATE examinations SET examiner_digest = :digest WHERE examiner_digest <> :digest"
        )
        connection.execute(sa.text(update), {"digest": digest})
    database.close()


def one_at_a_time(client: httpx.Client, node: Node, studies: int) -> None:
    times, outcomes, before = [], set(), cpu_seconds(node)
    for _ in range(ASKED):
        start = time.perf_counter()
        path = f"/projects/default/decisions/{STUDY}{random.randint(1, studies)}"
        outcomes.add(client.get(path).json()["outcome"])
        times.append((time.perf_counter() - start) * 1000)
    times = sorted(times[WARM_UP:])
    at_work = (cpu_seconds(node) - before) / ASKED * 1000
    middle, late = times[len(times) // 2], times[int(len(times) * 0.95)]
    print(f"one study ({', '.join(outcomes)}): median {middle:.1f} ms, p95 {late:.1f} ms, "
          f"{at_work:.1f} ms CPU each")  # fmt: skip


def a_list(client: httpx.Client, node: Node, studies: int) -> None:
    uids = [f"{STUDY}{n}" for n in random.sample(range(1, studies + 1), min(studies, 10_000))]
    start, before = time.perf_counter(), cpu_seconds(node)
    answer = client.post("/projects/default/decisions", json={"studies": uids}, timeout=600)
    seconds = time.perf_counter() - start
    end = answer.text.splitlines()[-1]
    print(f"{len(uids)} studies: {seconds:.1f} s ({cpu_seconds(node) - before:.1f} s CPU), {end}")


def cpu_seconds(node: Node) -> float:
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
