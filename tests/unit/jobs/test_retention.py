"""What is delivered, judged and past its days makes room; nothing else does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dicomnode.config import Settings
from dicomnode.domain import DeliveryState, Examination, GateOutcome, Revision, VerdictKind
from dicomnode.errors import JobError, SpoolError
from dicomnode.export.study import Exporter, StudyOutcome
from dicomnode.gate.policy import policy_of
from dicomnode.gate.release import Exit
from dicomnode.gate.studies import decide_studies
from dicomnode.jobs import engine, lanes, retention
from dicomnode.jobs.reexamine import Wish, reexamine
from dicomnode.jobs.workflows import Workflows
from dicomnode.tracking import (
    audit,
    decisions,
    examinations,
    exports,
    instances,
    notices,
    receipts,
    schema,
    series,
)
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.exports import Export
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.removal import Digest
from dicomnode.tracking.reviews import ReviewFilter
from dicomnode.tracking.spool import Spool
from tests import small_node
from tests.databases import *  # noqa: F403
from tests.examined_site import *  # noqa: F403
from tests.examined_site import PACS, Site
from tests.unit.gate.released import new_key
from tests.unit.tracking.rows import LOCALIZER, examined, instance, volume


def wanted(_subjects: object) -> str:
    return ""


def test_both_databases_tell_what_may_go(
    make_settings: Callable[..., Settings], database: Database
) -> None:
    """Once; all that follows is told by SQLite."""
    site = Site(make_settings(destinations=[PACS]), database)
    kept = site.series("waits", state=DeliveryState.PENDING)
    gone = site.series("goes", slices=60)
    assert site.keeper().round() == 1
    assert [site.finding(study).removed_at is None for study in (kept, gone)] == [True, False]


def test_what_is_delivered_and_judged_goes_at_once_where_the_site_wants_it(site: Site) -> None:
    study = site.series("one", slices=60)
    before = site.finding(study)
    assert site.keeper().round() == 1
    assert site.files() == 0
    assert list(site.settings.results_folder.iterdir()) == []
    after = site.finding(study)
    assert after.removed_at is not None
    assert replace(after, removed_at=None) == before
    with site.database.read() as c:
        (event,) = audit.newest(c, event="files removed")
    assert event.subject == before.series_instance_uid
    assert (event.detail["instances"], event.detail["why"]) == (60, "0 days are over")
    assert site.keeper().round() == 0


def undecided(kind: VerdictKind) -> Callable[[Revision], Examination]:
    return lambda revision: examined(revision, kind)


def with_localizer(revision: Revision) -> Examination:
    return Examination(revision.digest, (volume(),), (LOCALIZER,))


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (examined, DeliveryState.PENDING),
        (examined, DeliveryState.STORED),
        (examined, DeliveryState.REFUSED),
        (undecided(VerdictKind.UNDETERMINED), DeliveryState.DELIVERED),
        (undecided(VerdictKind.FACE_VISIBLE), DeliveryState.DELIVERED),
        (with_localizer, DeliveryState.DELIVERED),
    ],
    ids=["undelivered", "not proven", "refused by the PACS", "undetermined", "face", "set aside"],
)
def test_what_somebody_waits_for_stays(
    site: Site, found: Callable[[Revision], Examination], state: DeliveryState
) -> None:
    site.series("one", found, state)
    assert site.keeper().round() == 0
    assert site.files() == 3


def test_what_was_never_queued_for_a_destination_stays_where_there_is_one(site: Site) -> None:
    small_node.put_series(site.settings, site.database, "one")
    with site.database.begin() as c:
        (series_id,) = site._unexamined(c)
        revision = series.add_revision(c, series_id, site.spool, datetime.now(UTC))
        assert revision is not None
        examinations.record(c, revision.id, examined(revision))
    assert site.keeper().round() == 0


def test_what_was_not_examined_or_in_vain_stays(site: Site) -> None:
    small_node.put_series(site.settings, site.database, "one")
    assert site.keeper().round() == 0
    with site.database.begin() as c:
        (series_id,) = site._unexamined(c)
        revision = series.add_revision(c, series_id, site.spool, datetime.now(UTC))
        assert revision is not None
        examinations.record_failure(c, revision.id, "out of memory")
    assert site.keeper().round() == 0
    assert site.files() == 3


def test_a_person_s_decision_lets_it_go_after_its_days(site: Site) -> None:
    study = site.series("one", undecided(VerdictKind.UNDETERMINED))
    with site.database.begin() as c:
        uid = verdicts_of_study(c, study)[0].series_instance_uid
        decisions.record(c, uid, DecisionKind.DEFACED, account="anna", note="no face")
    assert site.keeper(days=0.01).round() == 0
    assert site.keeper().round() == 1


def test_what_the_policy_wants_a_person_for_stays(site: Site) -> None:
    gate = site.settings.gate.model_copy(update={"review_verdicts": (VerdictKind.DEFACED,)})
    site.settings = site.settings.model_copy(update={"gate": gate})
    site.series("one")
    assert site.keeper().round() == 0


def test_what_an_export_is_at_stays(site: Site) -> None:
    study = site.series("one")
    with leaving(site, study):
        assert site.keeper().round() == 0
    assert site.keeper().round() == 1


@contextmanager
def leaving(site: Site, study: str) -> Iterator[None]:
    receipt = receipts.StoredReceipt(
        1, study, datetime.now(UTC), "default", "release", "", "0" * 64, "{}"
    )
    with site.database.begin() as c:
        receipts.add(c, receipt)
        begun = exports.begin(c, Export("default", "folder", "anna"), study, 1, ["1.2"])
    assert begun is not None
    yield
    with site.database.begin() as c:
        exports.stop(c, begun.exported_study_id, "enough")


def test_above_the_watermark_the_oldest_go_first_and_only_as_many_as_needed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = [site.series(name) for name in ("first", "second", "third")]
    monkeypatch.setattr(Spool, "used_percent", lambda self: 50.0 + 5 * site.files())
    keeper = site.keeper(remove="when_full", used_percent=82.0)
    assert keeper.round() == 1
    gone = [site.finding(study).removed_at is not None for study in studies]
    assert gone == [True, False, False]
    assert keeper.round() == 0


def test_oldest_is_what_came_first_whatever_the_clock_said(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was set back by a day after the first."""
    studies = [site.series(name) for name in ("first", "second")]
    now = datetime.now(UTC)
    with site.database.begin() as c:
        for number, days in ((1, 2), (2, 3)):
            values = {"created_at": now - timedelta(days=days)}
            for table in (schema.examinations, schema.verdicts):
                c.execute(table.update().where(table.c.id == number).values(values))
    monkeypatch.setattr(Spool, "used_percent", lambda self: 50.0 + 5 * site.files())
    assert site.keeper(remove="when_full", used_percent=76.0).round() == 1
    assert [site.finding(study).removed_at is not None for study in studies] == [True, False]


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
def test_the_days_are_the_same_in_every_time_zone(
    site: Site, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    site.series("one")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert site.keeper(days=2 / (24 * 60)).round() == 0
        assert site.keeper(days=0.5 / (24 * 60)).round() == 1
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_worker_removes_beside_its_jobs(site: Site) -> None:
    study = site.series("one")
    stop = threading.Event()
    wanted_now = site.settings.retention.model_copy(
        update={"remove": "always", "days": 0.0, "poll_seconds": 0.05}
    )
    settings = site.settings.model_copy(update={"retention": wanted_now})
    retention.start_removing(settings, site.database, stop)
    deadline = time.monotonic() + 60
    while site.finding(study).removed_at is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop.set()
    (thread,) = [one for one in threading.enumerate() if one.name == "retention"]
    thread.join(30)


def test_nothing_goes_below_the_watermark_or_where_nothing_may(site: Site) -> None:
    site.series("one")
    assert site.keeper(remove="when_full", used_percent=99.9).round() == 0
    assert site.keeper(remove="never", used_percent=0.001).round() == 0


def test_people_are_told_once_when_the_disk_fills_and_the_record_says_when_it_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, keeper = [90.0], site.keeper(remove="never", used_percent=85.0)
    monkeypatch.setattr(Spool, "used_percent", lambda self: used[0])
    channel, asked = "mail", ReviewFilter(kinds=(), codes=())

    def told() -> int:
        nonlocal places
        now = datetime.now(UTC)
        with site.database.begin() as c:
            places = notices.note(c, channel, places, asked, now)
            found = notices.untold(c, channel, asked, now)
            if found is None:
                return 0
            notices.mark_told(c, channel, found, now)
        return found.counts.get(notices.Topic.DISK, 0)

    places: Any = {}
    assert told() == 0
    keeper.round()
    keeper.round()
    assert told() == 1
    keeper.round()
    assert told() == 0
    used[0] = 50.0
    keeper.round()
    used[0] = 90.0
    keeper.round()
    assert told() == 1
    with site.database.read() as c:
        events = [one.event for one in audit.newest(c) if one.event.startswith("disk")]
    assert events == ["disk filling", "disk has room", "disk filling"]


def test_a_removal_that_was_killed_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    study = site.series("one", slices=4)
    calls = []

    def die_at_the_third(self: Spool, name: str, known: Digest | None) -> None:
        calls.append(name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        remove(self, name, known)

    remove = Spool.remove
    monkeypatch.setattr(Spool, "remove", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        site.keeper().round()
    assert site.finding(study).removed_at is None
    assert site.keeper().round() == 1
    assert site.files() == 0


def test_export_gate_and_reexamination_say_that_the_files_are_gone(
    site: Site, tmp_path: Path
) -> None:
    study = site.series("one")
    site.keeper().round()
    policy, day = policy_of(site.settings), datetime.now(UTC).date().isoformat()
    (decision,) = decide_studies(site.database, [study], policy, wanted)
    assert decision.outcome is GateOutcome.RELEASE
    assert f"removed on {day} by retention" in decision.remarks[0]
    exit_ = Exit(site.database, new_key(tmp_path), policy, wanted, "folder", "anna")

    class Nowhere:
        name = "folder"

        def study(self, *_: object) -> Any:
            raise AssertionError("nothing leaves")

    result = Exporter(exit_, Nowhere(), site.database, site.spool).export(study)
    assert result.outcome is StudyOutcome.FAILED
    assert f"removed on {day} by retention" in result.reasons[0]
    with site.database.read() as c:
        assert exports.newest(c) == []
    found = reexamine(site.database, wanted, Wish(study=study, everything=True))
    assert (found.queued, found.removed) == (0, 1)


def test_the_series_sent_again_is_whole_again_and_its_verdict_counts(site: Site) -> None:
    study = site.series("one")
    site.keeper(needs_no_person=(VerdictKind.DEFACED,)).round()
    small_node.put_series(site.settings, site.database, "one")
    found = site.finding(study)
    assert (found.removed_at, found.state, found.instance_count) == (None, "examined", 3)
    assert site.files() == 3


def test_late_data_of_a_series_whose_files_are_gone_is_not_examined_without_them(
    site: Site,
) -> None:
    study = site.series("one")
    site.keeper().round()
    small_node.put_series(site.settings, site.database, "one", 1, first=3)
    assert site.finding(study).has_newer_instances
    assert site.keeper().round() == 0
    assert site.files() == 1


def test_a_clock_that_jumps_ahead_makes_nothing_old(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.series("one")
    keeper = site.keeper(days=30.0)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=400)

    monkeypatch.setattr(retention, "datetime", Ahead)
    assert keeper.round() == 0
    assert site.files() == 3


def test_what_was_recorded_before_the_clock_was_set_back_is_not_past_its_days(site: Site) -> None:
    study = site.series("one")
    with site.database.begin() as c:
        uid = verdicts_of_study(c, study)[0].series_instance_uid
        ahead = datetime.now(UTC) + timedelta(hours=5)
        again = instances.RepeatedInstance(_header(uid, study), "", ahead)
        instances.repeat(c, [again])
    assert site.keeper().round() == 0


def _header(uid: str, study: str) -> Any:
    return instance(1, series=uid, study=study).header


def test_a_job_of_a_series_whose_files_are_gone_is_not_tried_again(site: Site) -> None:
    site.series("one")
    site.keeper().round()
    queue = lanes.JobQueue(site.database)
    with site.database.begin() as c:
        revision = series.load_revision(c, 1, site.spool)
        job = queue.enqueue_examination(c, revision)
    queue.client.cancel_workflow(job)
    queue.close()
    with pytest.raises(JobError, match="by retention"):
        engine.retry(site.database, job)


def test_a_series_with_a_job_stays(site: Site) -> None:
    study = site.series("one")
    assert reexamine(site.database, wanted, Wish(study=study, everything=True)).queued == 1
    assert site.keeper().round() == 0
    assert site.files() == 3


@pytest.mark.parametrize("leaves", ["nothing", "an empty folder"])
def test_a_disk_that_went_away_is_not_taken_for_removed_files(
    site: Site, tmp_path: Path, leaves: str
) -> None:
    """As a mount leaves it that is gone; with it all is there again."""
    study = site.series("one")
    objects, elsewhere = site.spool.objects_folder, tmp_path / "elsewhere"
    objects.rename(elsewhere)
    if leaves == "an empty folder":
        objects.mkdir()
    with pytest.raises(SpoolError):
        site.keeper().round()
    assert site.finding(study).removed_at is None
    if objects.exists():
        objects.rmdir()
    elsewhere.rename(objects)
    assert site.keeper().round() == 1


def test_a_verdict_outlives_a_new_examination_that_its_files_did_not_wait_for(site: Site) -> None:
    """Somebody wished for it just before retention took them."""
    study = site.series("one")
    before = site.finding(study)
    site.keeper().round()
    session = SimpleNamespace(connection=lambda: connection)
    once = SimpleNamespace(sql_session=lambda: session)
    given: Any = (site.settings, site.database, site.spool, None, once, None)
    workflows = Workflows(*given)
    found = workflows._examine(1)
    with site.database.begin() as connection:
        assert "by retention" in workflows._record(1, found)
    after = site.finding(study)
    assert (after.state, after.verdict) == (before.state, before.verdict)
