"""A copy without faces as a job: it can be cancelled while it waits, and asked for again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from dicomnode.config_policy import ProjectSettings
from dicomnode.domain import CopyOrder, CopyState, Revision, SeriesCopy, VerdictKind
from dicomnode.domain import Examination as Found
from dicomnode.errors import DefacingError, JobError
from dicomnode.gate.copies import ask_for_copy
from dicomnode.jobs.copying import GONE, Copying, enqueue_asked
from dicomnode.jobs.engine import JobState, cancel, list_jobs, retry
from dicomnode.jobs.forget import forget
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.stranded import Stranded
from dicomnode.tracking import audit, copied_series, study_copies
from dicomnode.tracking.schema import revisions
from dicomnode.tracking.study_copies import StudyCopy
from tests import small_node
from tests.examined_site import *  # noqa: F403
from tests.examined_site import Site
from tests.unit.tracking.copies import volume_copy
from tests.unit.tracking.rows import examined


def face(revision: Revision) -> Found:
    return examined(revision, VerdictKind.FACE_VISIBLE)


def ask(site: Site, study: str, by: str = "anna") -> StudyCopy:
    with site.database.begin() as connection:
        return ask_for_copy(connection, study, site.settings, "a digest", by=by)


def state(site: Site, copy: StudyCopy) -> CopyState:
    with site.database.read() as connection:
        return study_copies.load(connection, copy.id).state


def made(site: Site, study: str) -> StudyCopy:
    """A copy that was made of it, and held by its proof."""
    copy = ask(site, study)
    with site.database.begin() as c:
        study_copies.set_state(c, copy.id, CopyState.RUNNING)
        one = SeriesCopy(copy.plan[0].series_instance_uid, (volume_copy("2.25.7", "a nose"),))
        copied_series.record(c, copy.id, [one], [])
        study_copies.set_state(c, copy.id, CopyState.DONE)
    return copy


def test_a_copy_that_waits_can_be_cancelled_and_asked_for_again(site: Site) -> None:
    copy = ask(site, site.series("a", face))
    (job,) = list_jobs(site.database)
    assert (job.id, job.state) == (f"deface:{copy.id}", JobState.WAITING)
    cancel(site.database, job.id)
    assert state(site, copy) is CopyState.CANCELLED
    with pytest.raises(JobError, match="has ended"):
        cancel(site.database, job.id)
    again = ask(site, copy.study_instance_uid, by="bob")
    assert (again.id, again.state, again.asked_by) == (copy.id, CopyState.ASKED, "bob")
    with pytest.raises(JobError, match="it is waiting"):
        retry(site.database, job.id)
    with site.database.read() as c:
        events = audit.newest(c, event="copy without faces asked for")
    assert [event.detail["account"] for event in events] == ["bob", "anna"]


def test_a_job_whose_end_could_not_be_written_begins_again(site: Site) -> None:
    copy = ask(site, site.series("a", face))
    queue = JobQueue(site.database)
    try:
        enqueue_asked(site.database, queue)
        enqueue_asked(site.database, queue)  # which finds nothing more
        (job,) = queue.client.list_workflows()
        with site.database.begin() as c:
            study_copies.set_state(c, copy.id, CopyState.RUNNING)
            c.execute(sa.text("UPDATE workflow_status SET status = 'ERROR', queue_name = NULL"))
        stranded = Stranded(queue.client, site.database)
        assert (stranded.look(), stranded.look()) == (1, 0)
        (again,) = queue.client.list_workflows()
    finally:
        queue.close()
    assert (again.workflow_id, again.status, again.queue_name) == (
        job.workflow_id,
        "ENQUEUED",
        "gpu",
    )


def test_who_is_no_steward_can_not_ask(site: Site) -> None:
    with pytest.raises(DefacingError, match="is no account"):
        ask(site, site.series("a", face), by="a name")


def test_an_original_that_is_copied_is_not_removed_meanwhile(site: Site) -> None:
    study = site.series("a")
    with site.database.begin() as c:
        copy = study_copies.ask(c, study, "2.25.1", [], [], by="anna")
    assert site.keeper().round() == 0
    with site.database.begin() as c:
        study_copies.set_state(c, copy.id, CopyState.FAILED, sentence="no")
    assert site.keeper().round() == 1


def test_what_holds_a_copy_outlives_its_original(site: Site) -> None:
    study = site.series("a", face)
    copy = made(site, study)
    forget(site.settings, site.database, study, account="anna")
    with site.database.read() as c:
        (origin,) = copied_series.origins(c, ["2.25.7"]).values()
    assert origin.objections == ("a nose",)
    assert state(site, copy) is CopyState.DONE


def test_a_copy_that_was_not_made_is_forgotten_with_its_original(site: Site) -> None:
    study = site.series("a", face)
    copy = ask(site, study)
    forget(site.settings, site.database, study, account="anna")
    with pytest.raises(LookupError):
        state(site, copy)


def test_a_copy_that_is_forgotten_can_be_made_again(site: Site) -> None:
    study = site.series("a", face)
    copy = made(site, study)
    with site.database.begin() as c:
        study_copies.forget(c, copy.copy_study_instance_uid)
        assert copied_series.origins(c, ["2.25.7"]) == {}
    assert ask(site, study).state is CopyState.ASKED


def test_old_copies_are_listed_only_where_everything_is(site: Site) -> None:
    copy = made(site, site.series("a", face))
    assert list_jobs(site.database) == []
    (job,) = (one for one in list_jobs(site.database, everything=True) if one.stage == "deface")
    assert (job.id, job.state) == (f"deface:{copy.id}", JobState.DONE)
    assert datetime.now(UTC) - job.created_at < timedelta(minutes=5)


def test_whoever_makes_a_copy_is_told_for_which_project(site: Site) -> None:
    """And the copies of a project are others than those with names, of the same series too."""
    own = {"deidentify": True, "deidentification": {"key_file": "the worker reads it"}}
    project = ProjectSettings.model_validate(own)
    settings = site.settings.model_copy(update={"projects": {"mine": project}})
    study, told = site.series("a", face), []

    def tell(order: CopyOrder) -> SeriesCopy:
        told.append((order.project, order.study_instance_uid, order.folder.name))
        return SeriesCopy(order.revision.series_instance_uid)

    stages = replace(small_node.stages(settings), copy=tell)
    steps = Copying(settings, site.database, site.spool, stages)
    for name in ("default", "mine"):
        with site.database.begin() as c:
            copy = ask_for_copy(c, study, settings, "a digest", name, by="anna")
            study_copies.set_state(c, copy.id, CopyState.RUNNING)
        assert "copy" in steps.make(copy.id, 0)
        with site.database.begin() as c:  # another series has the number of one that is gone
            c.execute(revisions.update().values(digest="another"))
        assert steps.make(copy.id, 0) == {"failure": GONE}
        with site.database.begin() as c:
            c.execute(revisions.update().values(digest=copy.plan[0].revision_digest))
    assert [project for project, _, _ in told] == ["", "mine"]
    assert len(set(told[0]) | set(told[1])) == 6
