"""Retention beside those who send, write and wish meanwhile."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dbos import DBOSClient

from dicomnode.domain import VerdictKind
from dicomnode.jobs import lanes, retention
from dicomnode.jobs.reexamine import Wish, reexamine
from dicomnode.tracking.retention import Removable, next_files
from dicomnode.tracking.spool import Spool
from tests.examined_site import *  # noqa: F403
from tests.examined_site import Site
from tests.factories import make_series


def wanted(_subjects: object) -> str:
    return ""


def test_the_policy_of_now_is_asked_not_that_of_the_start(site: Site) -> None:
    site.series("one")
    keeper = site.keeper()
    gate = site.settings.gate.model_copy(update={"review_verdicts": (VerdictKind.DEFACED,)})
    keeper.settings = keeper.settings.model_copy(update={"gate": gate})
    assert keeper.round() == 0


def test_only_the_jobs_of_what_may_go_are_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be a hundred thousand others."""
    studies = [site.series(name) for name in ("one", "two", "three")]
    for study in studies[1:]:
        assert reexamine(site.database, wanted, Wish(study=study, everything=True)).queued == 1
    list_jobs, migrate, listed, migrations = DBOSClient.list_workflows, lanes.migrate, [], []

    def list_some(self: DBOSClient, **asked: Any) -> Any:
        found = list_jobs(self, **asked)
        listed.append(len(found))
        return found

    monkeypatch.setattr(DBOSClient, "list_workflows", list_some)
    monkeypatch.setattr(lanes, "migrate", lambda known: migrations.append(migrate(known)))
    keeper = site.keeper()
    assert [keeper.round(), keeper.round()] == [1, 0]
    assert max(listed) == 1
    assert len(migrations) == 1


@pytest.mark.parametrize(("slow", "pause_seconds"), [("remove", 60.0), ("page", 900.0)])
def test_only_a_look_that_takes_long_is_not_repeated_soon(
    site: Site, monkeypatch: pytest.MonkeyPatch, slow: str, pause_seconds: float
) -> None:
    """A disk that fills has to be gone on with after a long removal."""
    site.series("one")
    clock, pauses = [0.0], []
    owner: Any = Spool if slow == "remove" else retention.retention
    fast = getattr(owner, slow)

    def slowly(*given: Any) -> Any:
        clock[0] += 1000.0
        return fast(*given)

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return len(pauses) > 1

    monkeypatch.setattr(owner, slow, slowly)
    monkeypatch.setattr(retention, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    site.keeper().run(Stop())
    assert site.files() == 0
    assert pauses == [60.0, pause_seconds]


def test_what_comes_again_while_it_may_go_is_not_removed_behind_its_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Retention looks between the spool's "it is here" and the success that the sender is told."""
    files = make_series(tmp_path / "made", slices=3)
    site.take_in(files)
    study = site.examine("one")
    store, removed = Spool.store, []

    def store_and_look(self: Spool, *given: Any, **options: Any) -> Any:
        result = store(self, *given, **options)
        removed.append(site.keeper().round())
        return result

    monkeypatch.setattr(Spool, "store", store_and_look)
    site.take_in(files)
    assert removed == [0, 0, 0]
    assert site.files() == 3
    assert site.finding(study).removed_at is None
    assert site.keeper().round() == 1


def test_others_write_to_the_database_while_files_are_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file on a slow disk takes seconds; who receives would wait for each."""
    site.series("one", slices=60)
    read, file = hashlib.file_digest, str(site.database.url.database)
    seen = []

    def look(*given: Any) -> Any:
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
        seen.append(given)
        return read(*given)

    monkeypatch.setattr(hashlib, "file_digest", look)
    assert site.keeper().round() == 1
    assert (len(seen), site.files()) == (60, 0)


def test_large_files_go_one_by_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.series("one", slices=4)
    monkeypatch.setattr("dicomnode.tracking.retention._BYTES_AT_A_TIME", 1)
    with site.database.read() as c:
        assert len(next_files(c, Removable(1, "", ""))) == 1
    assert site.keeper().round() == 1
    assert site.files() == 0
