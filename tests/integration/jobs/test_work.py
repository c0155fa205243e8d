"""From a received series to a delivered SEG, on the real engine; what fails is seen and retried."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicomnode.config import DestinationSettings
from dicomnode.delivery.store import Sent
from dicomnode.domain import Examination, Refusal, RefusalCode, Revision, SetAside
from dicomnode.errors import JobError, ModelError
from dicomnode.jobs.done import clear_done
from dicomnode.jobs.engine import Job, JobState, cancel, retry
from dicomnode.jobs.forget import forget
from dicomnode.jobs.lanes import JobQueue, Stage
from dicomnode.jobs.sending import Sending
from dicomnode.jobs.workflows import Workflows
from dicomnode.tracking import audit
from dicomnode.tracking.gate_schema import METADATA
from dicomnode.tracking.spool import short_name
from tests import small_node
from tests.integration.jobs.conftest import Node, pacs, until
from tests.storage_peer import storage_peer

# Their triggers refuse a DELETE; to work on, the rest of the database must be enough.
APPEND_ONLY = ("audit_events", "audit_head", "receipts")

MakeNode = Callable[..., Node]


def test_a_complete_series_is_examined_and_its_seg_is_delivered(
    make_node: MakeNode, database_url: str
) -> None:
    with storage_peer() as peer:
        node = make_node(pacs(peer.port), url=database_url)
        series = [node.put("a"), node.put("b")]
        with node.working():
            until(lambda: node.states() == ["delivered", "delivered"])
    assert set(peer.received.values()) == {1}
    assert len(peer.received) == 2
    assert {s.series_instance_uid for study in node.status() for s in study.series} == set(series)
    assert all(study.verdict == "DEFACED" for study in node.status())
    assert node.jobs() == []
    assert {job.state for job in node.jobs(everything=True)} == {JobState.DONE}


def test_every_seg_of_a_series_is_delivered_to_every_destination(
    make_node: MakeNode, database_url: str
) -> None:
    with storage_peer() as peer, storage_peer() as archive:
        node = make_node(
            pacs(peer.port), pacs(archive.port) | {"name": "archive"}, url=database_url
        )
        stages = small_node.stages(node.settings)

        def examine(revision: Revision) -> Examination:
            out = node.settings.results_folder
            return small_node.examine(revision, out, labels=("EchoTime 5", "EchoTime 9"))

        node.put("a")
        with node.working(replace(stages, examine=examine)):
            until(lambda: node.states() == ["delivered"] * 4)
    assert list(peer.received.values()) == [1, 1]
    assert peer.received == archive.received
    labels = [volume.label for volume in node.status()[0].series[0].volumes]
    assert labels == ["EchoTime 5", "EchoTime 9"]


def test_a_result_that_says_nothing_is_a_failure_that_holds(make_node: MakeNode) -> None:
    node = make_node()
    stages = replace(
        small_node.stages(node.settings),
        examine=lambda revision: Examination(revision.digest),
    )
    node.put("a")
    with node.working(stages):
        until(lambda: node.status()[0].series[0].state == "failed")
        until(lambda: [job.state for job in node.jobs()] == [JobState.FAILED])
    assert "retry the job" in node.jobs()[0].error


def test_a_study_that_is_forgotten_while_its_cancelled_job_runs_on_leaves_no_file(
    make_node: MakeNode, database_url: str
) -> None:
    node = make_node(url=database_url)
    made: list[Path] = []

    def examine(revision: Revision) -> Examination:
        (job,) = node.jobs()
        of_series = node.settings.results_folder / short_name(revision.series_instance_uid)
        found = small_node.examine(revision, of_series)
        cancel(node.database, job.id)
        forget(node.settings, node.database, revision.study_instance_uid, account="anna")
        assert not of_series.exists()
        of_series.mkdir()
        late = of_series / "written-late.dcm"
        late.touch()
        made.append(late)
        return found

    node.put("a")
    with node.working(replace(small_node.stages(node.settings), examine=examine)):
        until(lambda: bool(made) and not any(path.exists() for path in made))
    assert [p for p in node.settings.results_folder.rglob("*") if p.is_file()] == []
    assert node.status() == ()


def test_what_was_examined_is_not_examined_again_after_a_restart(make_node: MakeNode) -> None:
    examined: list[Revision] = []
    node = make_node()
    stages = small_node.stages(node.settings)

    def examine(revision: Revision) -> Examination:
        examined.append(revision)
        return stages.examine(revision)

    node.put("a")
    for _ in range(2):
        with node.working(replace(stages, examine=examine)):
            until(lambda: bool(node.status()) and node.status()[0].verdict != "")
            node.put("a")  # sent again
            time.sleep(0.5)
    assert len(examined) == 1


def test_a_tracking_database_that_was_lost_and_rebuilt_is_worked_through_again(
    make_node: MakeNode,
) -> None:
    with storage_peer() as peer:
        node = make_node(pacs(peer.port))
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["delivered"])
            with node.database.begin() as connection:
                for table in reversed(METADATA.sorted_tables):
                    if table.name not in APPEND_ONLY:
                        connection.execute(table.delete())
            node.put("a")  # as rebuilding from the spool does
            until(lambda: node.states() == ["delivered"])
    assert set(peer.received.values()) == {2}


def test_a_late_slice_makes_a_new_examination(make_node: MakeNode) -> None:
    with storage_peer() as peer:
        node = make_node(pacs(peer.port))
        node.put("a", slices=3)
        with node.working():
            until(lambda: len(peer.received) == 1)
            node.put("a", slices=1, first=3)
            until(lambda: len(peer.received) == 2)
            until(lambda: node.status()[0].verdict == "DEFACED")
    assert node.status()[0].series[0].revision == 2


def test_a_worker_that_is_stopped_ends_what_it_began(make_node: MakeNode) -> None:
    """Somebody else writes for three seconds when only the record of a delivery is missing."""
    held, released = threading.Event(), threading.Event()
    with storage_peer() as peer:
        node = make_node(pacs(peer.port))
        stages = small_node.stages(node.settings)

        def write() -> None:
            with node.database.begin():
                held.set()
                released.wait(30)

        def deliver(to: DestinationSettings, paths: Sequence[Path], ae: str) -> Sent:
            warnings = stages.deliver(to, paths, ae)
            threading.Thread(target=write).start()
            held.wait(30)
            return warnings

        node.put("a")
        with node.working(replace(stages, deliver=deliver)):
            until(held.is_set)
            threading.Timer(3.0, released.set).start()
    assert node.states() == ["delivered"]
    assert {job.state for job in node.jobs(everything=True)} == {JobState.DONE}


def test_a_destination_that_was_down_gets_everything_when_it_is_back(
    make_node: MakeNode, database_url: str, free_port: int
) -> None:
    node = make_node(pacs(free_port), url=database_url)
    node.put("a")
    with node.working():
        seen: list[Job] = []

        def waits() -> bool:
            """It tries again and again meanwhile, and may do so between two looks."""
            seen.extend(job for job in node.jobs() if job.next_attempt_at is not None)
            return bool(seen)

        until(waits)
        assert seen[0].state is JobState.WAITING_TO_RETRY
        assert f"pacs (PACS at 127.0.0.1:{free_port}) does not accept" in seen[0].error
        with storage_peer(free_port) as peer:
            until(lambda: node.states() == ["delivered"])
    assert set(peer.received.values()) == {1}


def test_a_delivery_gives_up_after_its_time_and_a_person_can_retry_it(
    make_node: MakeNode, free_port: int
) -> None:
    node = make_node(pacs(free_port), delivery={"give_up_after_hours": 0.5 / 3600})
    node.put("a")
    with node.working():
        until(lambda: node.states() == ["refused"])
        (job,) = node.jobs()
        assert "gave up after" in job.error
        assert job.state is JobState.FAILED
        with storage_peer(free_port):
            retry(node.database, job.id)
            until(lambda: node.states() == ["delivered"])


def test_jobs_whose_end_could_not_be_written_begin_again(
    make_node: MakeNode, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a database that was full, or away for long: nobody has to look for them."""
    monkeypatch.setattr("dicomnode.jobs.worker.LOOK_SECONDS", 0.2)
    failed = []

    def fail_once(owner: type, name: str) -> None:
        write = getattr(owner, name)

        def written(*given: Any) -> Any:
            if name not in failed:
                failed.append(name)
                raise OSError(errno.ENOSPC, "injected")
            return write(*given)

        monkeypatch.setattr(owner, name, written)

    fail_once(Workflows, "_record")
    fail_once(Sending, "settle")
    with storage_peer() as peer:
        node = make_node(pacs(peer.port), url=database_url)
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["delivered"])
    assert failed == ["_record", "settle"]
    assert list(peer.received.values()) == [2], "the same SEG"
    assert node.jobs() == []


def test_a_refusal_is_final_and_shown_until_a_person_retries(make_node: MakeNode) -> None:
    with storage_peer(statuses=[0xA900, 0xA900]) as peer:
        node = make_node(pacs(peer.port))
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["refused"])
            (job,) = node.jobs()
            assert "0xA900" in job.error
            retry(node.database, job.id)
            until(lambda: node.states() == ["delivered"])
    assert [delivery.attempts for delivery in node.status()[0].series[0].deliveries] == [2]


def test_a_warning_of_the_destination_is_kept(make_node: MakeNode) -> None:
    with storage_peer(statuses=[0xB000]) as peer:
        node = make_node(pacs(peer.port))
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["delivered"])
    with node.database.read() as connection:
        events = audit.newest(connection, event="delivered")
    (event,) = events
    assert "0xB000" in str(event.detail["sentence"])
    assert event.detail["destination"] == "pacs"


def test_a_waiting_delivery_is_tried_at_once_when_a_person_asks(
    make_node: MakeNode, free_port: int
) -> None:
    later = {"first_retry_seconds": 600.0, "longest_retry_seconds": 600.0}
    node = make_node(pacs(free_port), delivery=later)
    node.put("a")
    with node.working():
        until(lambda: [job.state for job in node.jobs()] == [JobState.WAITING_TO_RETRY])
        (job,) = node.jobs()
        with storage_peer(free_port):
            retry(node.database, job.id)
            until(lambda: node.states() == ["delivered"])


def test_a_cancelled_delivery_is_not_sent(make_node: MakeNode, free_port: int) -> None:
    node = make_node(pacs(free_port))
    node.put("a")
    with node.working():
        until(lambda: [job.stage for job in node.jobs()] == [Stage.DELIVER])
        (job,) = node.jobs()
        cancel(node.database, job.id)
        with storage_peer(free_port) as peer:
            time.sleep(2)
    assert node.states() == ["cancelled"]
    assert not peer.received
    with pytest.raises(JobError, match="has ended"):
        cancel(node.database, "deliver:1")


def test_an_examination_that_fails_is_listed_and_can_be_retried(make_node: MakeNode) -> None:
    node = make_node()
    good = small_node.stages(node.settings)
    broken = True

    def examine(revision: Revision) -> Examination:
        if broken:
            raise ModelError("the face network has another SHA-256 than its manifest")
        return good.examine(revision)

    uid = node.put("a")
    with node.working(replace(good, examine=examine)):
        until(lambda: [job.state for job in node.jobs()] == [JobState.FAILED])
        (job,) = node.jobs()
        assert job.subject == uid
        assert job.error == "the face network has another SHA-256 than its manifest"
        assert node.status()[0].series[0].failure == job.error
        assert node.status()[0].verdict == ""
        broken = False
        retry(node.database, job.id)
        until(lambda: node.status()[0].verdict == "DEFACED")
        until(lambda: node.jobs() == [])


def test_a_refused_series_is_no_failure(make_node: MakeNode) -> None:
    node = make_node()
    localizer = SetAside(Refusal(RefusalCode.LOCALIZER, "a localizer is no volume"), 3)

    def examine(revision: Revision) -> Examination:
        return Examination(revision.digest, set_aside=(localizer,))

    node.put("a")
    with node.working(replace(small_node.stages(node.settings), examine=examine)):
        until(lambda: node.status()[0].series[0].refusal_code == "LOCALIZER")
        until(lambda: [job.state for job in node.jobs(everything=True)] == [JobState.DONE])
    assert node.jobs() == []


def test_a_waiting_examination_can_be_cancelled_and_taken_up_again(make_node: MakeNode) -> None:
    node = make_node()
    slow = small_node.stages(node.settings, lambda: 1.0)
    node.put("a")
    node.put("b")
    with node.working(slow):
        one_of_each = {JobState.RUNNING, JobState.WAITING}
        until(lambda: {job.state for job in node.jobs()} == one_of_each)
        (waiting,) = (job for job in node.jobs() if job.state is JobState.WAITING)
        cancel(node.database, waiting.id)
        until(lambda: node.jobs() == [])
        assert sorted(study.verdict for study in node.status()) == ["", "DEFACED"]
        failures = [item.failure for study in node.status() for item in study.series]
        assert any(failure.startswith("cancelled by a person") for failure in failures)
        retry(node.database, waiting.id)
        until(lambda: [study.verdict for study in node.status()] == ["DEFACED"] * 2)


def test_jobs_that_were_done_long_ago_leave_the_engine_and_what_was_refused_can_still_be_retried(
    make_node: MakeNode, database_url: str
) -> None:
    with storage_peer(statuses=[0xA900, 0xA900]) as peer:
        node = make_node(pacs(peer.port), url=database_url)
        node.put("a")
        with node.working():
            until(lambda: node.states() == ["refused"])
            queue = JobQueue(node.database)
            assert clear_done(queue.client, keep_days=1) == 0
            tomorrow = datetime.now(UTC) + timedelta(days=1, seconds=1)
            until(lambda: not queue.client.list_workflows(status=["PENDING", "ENQUEUED"]))
            assert clear_done(queue.client, keep_days=1, now=tomorrow) >= 2
            assert queue.client.list_workflows(status="SUCCESS") == []
            queue.close()
            assert [job.id for job in node.jobs()] == ["deliver:1"]
            retry(node.database, "deliver:1")
            until(lambda: node.states() == ["delivered"])
    assert [study.verdict for study in node.status()] == ["DEFACED"]


@pytest.mark.parametrize("job_id", ["examine:1.2.3:d:m", "deliver:77", "deliver:x", "nothing"])
def test_an_unknown_job_is_told(make_node: MakeNode, job_id: str) -> None:
    node = make_node()
    with pytest.raises(JobError, match="jobs list"):
        retry(node.database, job_id)
    with pytest.raises(JobError, match="jobs list"):
        cancel(node.database, job_id)


def test_a_node_that_never_worked_has_no_jobs(make_node: MakeNode) -> None:
    assert make_node().jobs(everything=True) == []
