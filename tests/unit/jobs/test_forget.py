"""A study that is forgotten leaves nothing but what was done with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from dicomnode.config import Settings
from dicomnode.domain import DeliveryState, GateOutcome, Revision
from dicomnode.errors import JobError, SpoolError
from dicomnode.gate.policy import policy_of
from dicomnode.gate.studies import decide_studies
from dicomnode.jobs import forget as module
from dicomnode.jobs.attempts import first_attempt
from dicomnode.jobs.engine import list_jobs
from dicomnode.jobs.forget import forget
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.reexamine import Wish, reexamine
from dicomnode.tracking import (
    associations,
    audit,
    commitment_requests,
    decisions,
    deliveries,
    forgetting,
    held,
    instances,
    parked,
    procedure_steps,
    quarantine,
    schema,
    status,
)
from dicomnode.tracking.audit_chain import verify
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.held import HeldFile, HeldState
from dicomnode.tracking.parked import Parked
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.spool import Spool, object_name, short_name
from tests import small_node
from tests.databases import *  # noqa: F403
from tests.examined_site import *  # noqa: F403
from tests.examined_site import PACS, Site
from tests.factories import make_series
from tests.unit.tracking.rows import association, instance


def wanted(_subjects: object) -> str:
    return ""


def files_of(site: Site) -> set[Path]:
    return {path for path in site.settings.node.data_folder.rglob("*") if path.is_file()}


def refuse(site: Site, study: str) -> None:
    """Another object under a UID of the study lies in the quarantine."""
    kept = site.spool.quarantine("conflict", b"meta", b"patient")
    row = QuarantinedObject(
        datetime.now(UTC), kept.name, "conflict", "why", 11, "1.2.9", "1.2.8", study
    )
    with site.database.begin() as c:
        quarantine.add(c, [row])


def hold_at_the_gate(site: Site, study: str) -> None:
    waiting = Spool(site.settings.waiting_folder)
    waiting.prepare()
    name = waiting.store("1.2.7", b"meta", b"patient").name
    file = HeldFile(
        "default", study, "1.2.6", "1.2.7", "1.2", "1.2", name, "0" * 64, 11, "A", "::1"
    )
    with site.database.begin() as c:
        held.hold(c, file, HeldState.WAITING, "why")


def park(site: Site, study: str) -> None:
    """Its delivery waits for a destination that is away."""
    with site.database.begin() as c:
        found = status.study_status(c, study)
        assert found is not None
        (delivery,) = found.series[0].deliveries
        parked.park(c, "pacs", Parked(delivery.id, 1, 0.0, 0.0, 0.0, 0.0, 0.0))
        asked = {"transaction_uid": "1.2.5", "delivery_id": delivery.id, "sop_instance_uid": "1.2"}
        c.execute(schema.commitments.insert().values(asked | {"asked_at": datetime.now(UTC)}))


def name_it_in_lists(site: Site, study: str, other: str) -> str:
    """Alone and beside another one, by modalities and by who asked for storage commitment; the
    instance of it that was asked for."""
    query = sa.select(schema.instances.c.sop_instance_uid).join(schema.series)
    with site.database.begin() as c:
        both = [verdicts_of_study(c, uid)[0].series_instance_uid for uid in (study, other)]
        procedure_steps.begin(c, "1.2.11", [study], {both[0]: 3})
        procedure_steps.begin(c, "1.2.12", [study, other], dict.fromkeys(both, 3))
        of_series = [schema.series.c.series_instance_uid == uid for uid in both]
        asked = [("1.2", c.scalars(query.where(one)).all()[0]) for one in of_series]
        for uid, some in (("1.2.21", asked[:1]), ("1.2.22", asked)):
            commitment_requests.add(c, uid, "A", "::1", some, datetime.now(UTC))
    return asked[0][1]


def texts_of(site: Site, *tables: sa.Table) -> str:
    with site.database.read() as c:
        return str([c.execute(sa.select(table)).all() for table in tables])


def test_nothing_of_it_is_left_but_the_record(
    make_settings: Callable[..., Settings], database: Database
) -> None:
    """On both databases."""
    site = Site(make_settings(destinations=[PACS]), database)
    other = site.series("other")
    before = files_of(site)
    study = site.series("one")
    uid = site.finding(study).series_instance_uid
    with site.database.begin() as c:
        decisions.record(c, uid, DecisionKind.DEFACED, account="anna", note="no face")
    refuse(site, study)
    hold_at_the_gate(site, study)
    park(site, study)
    sop_instance_uid = name_it_in_lists(site, study, other)
    assert reexamine(site.database, wanted, Wish(study=study, everything=True)).queued == 1
    known = forget(site.settings, site.database, study, account="anna", why="asked for")
    assert (len(known.objects), len(known.quarantined), len(known.waiting)) == (3, 1, 1)
    assert files_of(site) == before
    left = texts_of(site, schema.procedure_steps, schema.commitment_requests)
    assert not any(each in left for each in (study, uid, sop_instance_uid, "'1.2.11'", "'1.2.21'"))
    assert all(each in left for each in (other, "'1.2.12'", "'1.2.22'"))
    decided = decide_studies(site.database, [study, other], policy_of(site.settings), wanted)
    assert [one.outcome for one in decided] == [GateOutcome.UNKNOWN_STUDY, GateOutcome.RELEASE]
    with site.database.read() as c:
        assert verify(c).first_wrong is None
        (event,) = audit.newest(c, event="study forgotten")
        assert audit.newest(c, event="human decision")[0].subject == uid
        assert quarantine.newest(c) == []
    assert event.subject == study
    assert event.detail["account"] == "anna"
    assert (event.detail["why"], event.detail["instances"]) == ("asked for", 3)
    assert [job for job in list_jobs(site.database, everything=True) if uid in job.subject] == []
    with pytest.raises(JobError, match="nothing is known"):
        forget(site.settings, site.database, study, account="anna")


def test_what_only_waits_at_the_gate_is_forgotten_too(site: Site) -> None:
    hold_at_the_gate(site, "1.2.5")
    assert len(forget(site.settings, site.database, "1.2.5", account="anna").waiting) == 1
    assert not [path for path in site.settings.waiting_folder.rglob("*") if path.is_file()]


def test_sent_again_it_is_a_new_study(site: Site) -> None:
    study = site.series("one")
    site.keeper().round()
    forget(site.settings, site.database, study, account="anna")
    small_node.put_series(site.settings, site.database, "one")
    found = site.finding(study)
    assert (found.state, found.removed_at, found.verdict) == ("receiving", None, None)
    assert site.files() == 3


def test_what_is_being_sent_is_not_forgotten(site: Site) -> None:
    study = site.series("one")
    with site.database.begin() as c:
        (found,) = verdicts_of_study(c, study)
        associations.open_(c, [association("a", 0)])
        header = instance(1, series=found.series_instance_uid, study=study).header
        instances.expect(c, header, datetime.now(UTC), "a")
    with pytest.raises(JobError, match="association"):
        forget(site.settings, site.database, study, account="anna")
    assert site.files() == 3


@pytest.mark.parametrize("step", [1, 2, 3], ids=["before", "among", "behind the files"])
def test_what_comes_meanwhile_is_not_erased_after_its_success(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int
) -> None:
    files = make_series(tmp_path / "made", slices=3)
    site.take_in(files)
    study = site.examine("one")
    holding, begun = module._holding, []

    def come_before(*given: Any) -> Any:
        begun.append(given)
        if len(begun) == step:
            site.take_in(files[:1], is_open=True)
        return holding(*given)

    monkeypatch.setattr(module, "_holding", come_before)
    with pytest.raises(JobError, match="association"):
        forget(site.settings, site.database, study, account="anna")
    uid = str(dcmread(files[0]).SOPInstanceUID)
    assert site.spool.path(object_name(uid)).exists()
    with site.database.begin() as c:
        c.execute(schema.associations.update().values(closed_at=datetime.now(UTC), is_settled=True))
    forget(site.settings, site.database, study, account="anna")
    assert site.files() == 0
    with pytest.raises(JobError, match="nothing is known"):
        forget(site.settings, site.database, study, account="anna")


def test_a_job_that_runs_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told once; an end that doesn't come is told too, and nothing is removed: what waited to be
    sent waits again."""
    study = site.series("one", state=DeliveryState.PENDING)
    queue = JobQueue(site.database)
    with site.database.begin() as c:
        (known,) = deliveries.list_(c)
        job_id = queue.enqueue_delivery(c, first_attempt(known.id))
    runs, told = threading.Event(), []
    runs.set()
    jobs = module._jobs

    def one_runs(client: Any, known: Any, states: Any = None) -> Any:
        fake = [type("Job", (), {"workflow_id": "examine:1:2"})()]
        return fake if states == ("PENDING",) and runs.is_set() else jobs(client, known, states)

    monkeypatch.setattr(module, "_jobs", one_runs)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    with pytest.raises(JobError, match="examine:1:2 goes on"):
        forget(
            site.settings, site.database, study, account="anna", wait_seconds=0.05, tell=told.append
        )
    assert len(told) == 1
    assert site.files() == 3
    (waits,) = queue.client.list_workflows()
    assert (waits.workflow_id, waits.status) == (job_id, "ENQUEUED")
    assert (waits.queue_name, waits.queue_partition_key) == ("deliveries", "pacs")
    forget(site.settings, site.database, study, account="anna", tell=lambda _sentence: runs.clear())
    assert site.files() == 0
    assert queue.client.list_workflows() == []
    queue.close()


def test_one_that_was_interrupted_is_finished_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = site.series("one", state=DeliveryState.PENDING)
    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "erase_rows", _die)
        with pytest.raises(KeyboardInterrupt):
            forget(site.settings, site.database, study, account="anna")
    forget(site.settings, site.database, study, account="anna")
    assert site.files() == 0
    with site.database.read() as c:
        assert len(audit.newest(c, event="study is being forgotten")) == 2


def test_a_disk_that_is_away_keeps_the_study_until_it_is_back(site: Site, tmp_path: Path) -> None:
    """Its files would come back with the disk, and nobody would know that they may not."""
    study = site.series("one")
    objects = site.spool.objects_folder
    objects.rename(tmp_path / "elsewhere")
    with pytest.raises(SpoolError):
        forget(site.settings, site.database, study, account="anna")
    (tmp_path / "elsewhere").rename(objects)
    forget(site.settings, site.database, study, account="anna")
    assert site.files() == 0


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_a_job_left_that_died_while_its_study_was_forgotten_goes_with_the_next_look(
    make_settings: Callable[..., Settings], database: Database
) -> None:
    site = Site(make_settings(), database)
    here, gone = site.series("one"), site.series("two")
    of_series = {}
    for study in (here, gone):
        uid = site.finding(study).series_instance_uid
        of_series[study] = site.settings.results_folder / short_name(uid)
        mark = site.settings.results_folder / "worked-at" / short_name(uid)
        with module.leaving_nothing_forgotten(site.settings, database, revision_of(study, uid)):
            left = mark.read_bytes()
        assert not mark.exists()
        mark.write_bytes(left)  # as of a process that was killed
        of_series[study].mkdir(parents=True, exist_ok=True)
    forget(site.settings, database, gone, account="anna")
    for folder in of_series.values():
        folder.mkdir(exist_ok=True)
        (folder / "late.png").touch()
    module.discard_left(site.settings, database)
    assert [folder.exists() for folder in of_series.values()] == [True, False]
    assert [path.name for path in mark.parent.iterdir()] == [of_series[here].name]


def revision_of(study: str, uid: str) -> Revision:
    return Revision(1, 1, "digest", study, uid, "MR", ())
