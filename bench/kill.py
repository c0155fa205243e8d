"""`kill -9` of any process of the node at random moments, while series come in and SEGs go out.

    PYTHONPATH=. python bench/kill.py --rounds 200 --seed 1 [--database postgresql]

Senders send one series after another and again what was not acknowledged, as a PACS does. Each
round kills one process of `serve`: itself, the receiver or its child, HTTP, the worker or its
examining process. `--migrations N` first kills as many migrations of a database from a random
earlier version. At the end: every instance that was acknowledged is in the spool, byte for byte;
every series has exactly one current verdict, and the PACS its SEG; no job is left, none has failed,
none was recorded twice; what came to the PACS more than once was the same. Exit code 0 only then.
The networks are thresholds (`small_roles.py`), the rest is the node.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from bench.small_site import Pacs, Sender, make_site, running_node, running_pacs
from dicomnode.dicom.file_format import split_file
from dicomnode.jobs.engine import JobState, list_jobs
from dicomnode.tracking import schema
from dicomnode.tracking.database import Database, _alembic_config, schema_versions
from dicomnode.tracking.spool import Spool, object_name
from dicomnode.tracking.status import SeriesStatus, studies_status
from tests import postgres
from tests.e2e.site import processes

YOUNG_SECONDS = 20.0


def kill_one(dice: random.Random, root: int) -> str:
    """A role by lot, then one of its processes; `serve` and what it takes along, one time in 12.

    Empty where there is none to kill. The young are mostly spared.
    """
    by_role: dict[str, list[int]] = {}
    for pid, what in processes(root).items():
        # Who is always killed while starting does nothing else that could go wrong.
        if _age_seconds(pid) > YOUNG_SECONDS or dice.random() < 1 / 5:
            by_role.setdefault(what, []).append(pid)
    names = sorted(name for name in by_role if name != "serve")
    if not names:
        return ""
    name = "serve" if "serve" in by_role and dice.random() < 1 / 12 else dice.choice(names)
    try:
        os.kill(dice.choice(by_role[name]), signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return name


def _age_seconds(pid: int) -> float:
    try:
        return time.time() - Path(f"/proc/{pid}").stat().st_mtime
    except OSError:
        return 0.0


def settled(database: Database, sender: Sender) -> list[SeriesStatus]:
    """All series, once each has a verdict and its SEGs are delivered."""
    with database.read() as connection:
        studies = studies_status(connection, limit=100_000)
    every = [item for study in studies for item in study.series]
    done = [
        item
        for item in every
        if item.verdict and all(each.state == "delivered" for each in item.deliveries)
    ]
    return done if len(done) == len(every) == sender.series else []


def verify(database: Database, spool: Spool, sender: Sender, pacs: Pacs) -> list[str]:
    """What is wrong, as sentences; none where the node kept all that it promised."""
    wrong = [
        f"acknowledged and not in the spool as sent: {uid}"
        for uid, path in sender.acknowledged.items()
        if not _is_kept(spool, uid, path)
    ]
    with database.read() as c:

        def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
            query = sa.select(sa.func.count()).select_from(table).where(*conditions)
            return int(c.execute(query).scalar_one())

        current = count(schema.verdicts, schema.verdicts.c.is_current)
        recorded, revisions = count(schema.examinations), count(schema.revisions)
        failed = count(schema.examinations, schema.examinations.c.failure != "")
        segs = {row.sop_instance_uid for row in c.execute(sa.select(schema.segmentations))}
    if current != sender.series:
        wrong.append(f"{sender.series} series have {current} current verdicts")
    if recorded != revisions or failed:
        wrong.append(f"{recorded} examinations of {revisions} revisions, {failed} failed")
    if set(pacs.got) != segs or len(segs) != revisions:
        wrong.append(f"{len(pacs.got)} SEGs in the PACS, {len(segs)} made of {revisions} revisions")
    wrong += [f"came with other bytes: {uid}" for uid, got in pacs.got.items() if len(got) > 1]
    jobs = list_jobs(database, everything=True)
    wrong += [f"job {job.id}: {job.state}" for job in jobs if job.state is not JobState.DONE]
    return wrong


def _is_kept(spool: Spool, uid: str, sent: Path) -> bool:
    kept = spool.path(object_name(uid))
    return kept.is_file() and split_file(kept.read_bytes())[1] == split_file(sent.read_bytes())[1]


def kill_migrations(rounds: int, dice: random.Random, fresh: Callable[[], str]) -> None:
    """A migration that was killed at any moment is finished by the next, to the same schema."""
    wanted = _schema(_migrated(fresh()))
    for _ in range(rounds):
        address = fresh()
        database = Database(address)
        version = dice.choice(sorted(schema_versions())[:-1])
        from alembic import command

        with database._migrating_engine().begin() as connection:
            command.upgrade(_alembic_config(connection), version)
        script = (
            f"from dicomnode.tracking.database import Database; Database({address!r}).migrate()"
        )
        process = subprocess.Popen([sys.executable, "-c", script])
        time.sleep(dice.uniform(0.3, 3.0))
        process.kill()
        process.wait()
        if _schema(_migrated(address)) != wanted:
            raise SystemExit(f"a migration from {version} that was killed left another schema")
    print(f"{rounds} killed migrations: each was finished by the next", flush=True)


def _migrated(url: str) -> Database:
    database = Database(url)
    database.migrate()
    return database


def _schema(database: Database) -> list[str]:
    inspector = sa.inspect(database.engine)
    names = sorted(inspector.get_table_names())
    found = [f"{n} {[str(c['name']) for c in inspector.get_columns(n)]}" for n in names]
    found += [f"{n} {sorted(str(i['name']) for i in inspector.get_indexes(n))}" for n in names]
    database.close()
    return found


def rounds_of_killing(
    options: argparse.Namespace, folder: Path, url: str, dice: random.Random
) -> list[str]:
    site, database = make_site(folder, url), _migrated(url)
    sender, killed = Sender(folder / "sent", site.port), Counter[str]()
    with running_pacs(site.pacs_port) as pacs, running_node(site.config, site.log) as root:
        pause = random.Random(options.seed + 1)
        sending = threading.Thread(target=sender.run, args=(lambda: pause.uniform(0.0, 4.0),))
        sending.start()
        while killed.total() < options.rounds:
            time.sleep(dice.uniform(0.0, options.longest_seconds))
            # Before it is ready, `serve` ends by itself where a role does: that is for systemd.
            if site.config.with_suffix(f".{root()}").exists() and (name := kill_one(dice, root())):
                killed[name] += 1
        sender.stop.set()
        sending.join()
        deadline = time.monotonic() + 600
        while not (done := settled(database, sender)) and time.monotonic() < deadline:
            time.sleep(1)
        wrong = verify(database, Spool(site.data / "spool"), sender, pacs)
        if not done:
            wrong.append("not settled within 600 s")
    again = sum(sum(got.values()) - 1 for got in pacs.got.values())
    print(f"killed: {dict(killed)}")
    print(f"series {sender.series}, instances acknowledged {len(sender.acknowledged)}")
    print(f"SEGs in the PACS {len(pacs.got)}, of these sent again with the same bytes {again}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--migrations", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-seconds", type=float, default=4.0, help="between two kills")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    began, dice = time.monotonic(), random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="dicomnode-kill-") as name, ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(postgres.server()) if options.database != "sqlite" else ""

        def fresh() -> str:
            unique = uuid.UUID(int=dice.getrandbits(128)).hex
            if not server:
                return f"sqlite:///{folder}/{unique}.sqlite"
            return stack.enter_context(postgres.fresh_database(server, f"kill_{unique}"))

        kill_migrations(options.migrations, dice, fresh)
        wrong = rounds_of_killing(options, folder, fresh(), dice)
    print(f"{options.rounds} rounds on {options.database}, {time.monotonic() - began:.0f} s")
    print("\n".join(wrong) or "nothing lost, nothing doubled")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
