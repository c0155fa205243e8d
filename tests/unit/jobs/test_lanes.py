"""Job ids: the small rules that idempotency rests on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomnode.domain import Revision
from dicomnode.jobs.lanes import Priority, examination_id, reexamination_id
from dicomnode.jobs.liveness import FileLiveness, new_executor_id
from dicomnode.tracking.outdated import Examined

REVISION = Revision(1, 1, "d" * 64, "1.2", "1.2.3", "CT", ())


def test_the_same_content_is_the_same_job() -> None:
    again = replace(REVISION, id=9, number=4)
    assert examination_id(REVISION) == examination_id(again)


@pytest.mark.parametrize("changed", [{"digest": "e" * 64}, {"series_instance_uid": "1.2.4"}])
def test_other_content_is_another_job(changed: dict[str, Any]) -> None:
    assert examination_id(replace(REVISION, **changed)) != examination_id(REVISION)


def test_a_reexamination_is_one_job_for_each_examination_that_it_replaces() -> None:
    first = Examined(7, 1, "d" * 64, "1.2.3", "old", ())
    ids = [
        examination_id(REVISION),
        reexamination_id(first),
        reexamination_id(replace(first, examination_id=8)),
    ]
    assert len(set(ids)) == 3
    assert all(job_id.split(":")[1] == "1.2.3" for job_id in ids)


def test_a_job_with_a_priority_never_runs_before_stat() -> None:
    assert sorted(Priority) == [Priority.STAT, Priority.ROUTINE, Priority.BATCH]
    assert min(Priority) > 0


def test_executor_ids_are_never_used_twice() -> None:
    assert len({new_executor_id() for _ in range(100)}) == 100


def test_a_process_never_calls_itself_dead(tmp_path: Path) -> None:
    lock = FileLiveness(tmp_path / "locks", "me")
    lock.hold()
    assert not lock.is_dead("me")
    assert lock.is_dead("nobody ever had this id")
    lock.release()
    assert list((tmp_path / "locks").iterdir()) == []
