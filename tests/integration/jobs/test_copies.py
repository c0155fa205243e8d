"""A study that shows a face is copied without it, and the copy goes the way of every series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dicomnode.config import Settings
from dicomnode.defacing.copy import copy_series
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import (
    CopyOrder,
    CopySeries,
    CopyState,
    Examination,
    GateDecision,
    GateOutcome,
    Revision,
    SeriesCopy,
    VerdictKind,
)
from dicomnode.errors import ExaminationDiedError, ExaminationPostponedError, RenderingError
from dicomnode.gate.copies import ask_for_copy
from dicomnode.gate.policy import policy_of
from dicomnode.gate.studies import decide_studies
from dicomnode.inference import assessment
from dicomnode.inference.examine import examine
from dicomnode.inference.examiner import examiner_digest
from dicomnode.intake.running import running_intake
from dicomnode.jobs.copying import Copying
from dicomnode.jobs.engine import JobState, list_jobs, retry
from dicomnode.jobs.lanes import Stage
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import examinations, series, study_copies
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.findings import SeriesFinding, verdicts_of_study
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.study_copies import StudyCopy
from dicomnode.training.drawn import draw_head
from tests import small_node
from tests.factories import make_series, make_uid
from tests.integration.jobs.conftest import Node, pacs, until
from tests.remembering import Memory, networks
from tests.unit.tracking import rows

MakeNode = Callable[..., Node]
STUDY, HEAD, SCOUT = make_uid("head"), make_uid("head", "series"), make_uid("head", "scout")
SPACING_MM = 4.0
EXAMINER = "a digest"


@cache
def drawn() -> Any:
    return draw_head(9001, "CT", spacing_mm=SPACING_MM).array


@pytest.fixture(autouse=True)
def _unpictured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RenderingError("nobody looks")

    monkeypatch.setattr(assessment, "render", refuse)


def send(settings: Settings, folder: Path) -> None:
    """A head with a face and a localizer, as one study."""
    count, height, width = drawn().shape
    files = make_series(
        folder / "head",
        study="head",
        volume=drawn(),
        slices=count,
        rows=height,
        columns=width,
        pixel_spacing_mm=(SPACING_MM, SPACING_MM),
        slice_spacing_mm=SPACING_MM,
        modality="CT",
    )
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    files += make_series(
        folder / "scout", study="head", series="scout", slices=3, modality="CT", change=scout
    )
    with running_intake(settings) as intake:
        peer = intake.opened(calling_ae_title="CT", called_ae_title="DICOMNODE", address="")
        for file in files:
            intake.store_file(peer, file.read_bytes())
        intake.closed(peer, "released")


def stages(settings: Settings, memory: Memory) -> Stages:
    loaded = networks(memory)

    def look(revision: Revision) -> Examination:
        return examine(revision, loaded, settings, settings.results_folder / revision.digest[:16])

    return Stages(
        examine=look,
        deliver=small_node.send,
        copy=lambda order: copy_series(order, loaded, settings),
    )


def ask(node: Node, study: str = STUDY, by: str = "anna") -> StudyCopy:
    with node.database.begin() as connection:
        return ask_for_copy(connection, study, node.settings, EXAMINER, by=by)


def copy_of(node: Node, copy: StudyCopy) -> StudyCopy:
    with node.database.read() as connection:
        return study_copies.load(connection, copy.id)


def findings(node: Node, study: str) -> tuple[SeriesFinding, ...]:
    with node.database.read() as connection:
        return verdicts_of_study(connection, study)


def decide(node: Node, study: str) -> GateDecision:
    identities = [network.identity for network in networks(Memory())]
    digest = examiner_digest([identities], node.settings)
    policy = policy_of(node.settings)
    (decision,) = decide_studies(node.database, [study], policy, lambda _: digest)
    return decision


@contextmanager
def a_failed_copy(node: Node, make: CopySeries) -> Iterator[StudyCopy]:
    """Of a study that shows a face; `make` is how the working node copies a series."""

    def shows_a_face(revision: Revision) -> Examination:
        return rows.examined(revision, VerdictKind.FACE_VISIBLE)

    node.put("a")
    study = result_uid("study", "a")
    with node.working(replace(small_node.stages(node.settings), examine=shows_a_face, copy=make)):
        until(lambda: is_examined(node, study, 1))
        copy = ask(node, study)
        until(lambda: copy_of(node, copy).state is CopyState.FAILED)
        yield copy


def is_examined(node: Node, study: str, count: int) -> bool:
    found = findings(node, study)
    return len(found) == count and all(one.state in ("examined", "refused") for one in found)


def test_the_copy_is_examined_and_may_leave_while_its_original_stays(
    make_node: MakeNode, database_url: str, tmp_path: Path, free_port: int
) -> None:
    node = make_node(pacs(free_port), url=database_url, gate={"series": []})
    send(node.settings, tmp_path)
    with node.working(stages(node.settings, Memory())):
        until(lambda: is_examined(node, STUDY, 2))
        asked = [ask(node), ask(node)]
        until(lambda: copy_of(node, asked[0]).state is CopyState.DONE)
        copy = copy_of(node, asked[0])
        until(lambda: is_examined(node, copy.copy_study_instance_uid, 1))
        assert ask(node).state is CopyState.DONE
    assert {one.id for one in asked} == {copy.id}
    (made,) = findings(node, copy.copy_study_instance_uid)
    assert made.verdict is not None
    assert made.verdict.kind is VerdictKind.DEFACED
    assert made.completed_by == "COPY_COUNT"
    assert made.instance_count == len(drawn())
    assert made.origin is not None
    assert (made.origin.study_instance_uid, made.origin.series_instance_uid) == (STUDY, HEAD)
    assert made.origin.proof is not None
    assert made.origin.proof.brain_voxels_changed == 0
    assert [picture.path.is_file() for picture in made.origin.pictures] == [True, True]
    assert [(one.series_instance_uid, one.sentence[:9]) for one in copy.left_out] == [
        (SCOUT, "LOCALIZER")
    ]
    assert decide(node, copy.copy_study_instance_uid).outcome is GateOutcome.RELEASE
    assert decide(node, STUDY).outcome is GateOutcome.HOLD
    sent = {job.subject for job in list_jobs(node.database) if job.stage is Stage.DELIVER}
    assert sent == {f"SEG of {HEAD} to pacs"}


def examine_here(node: Node, given: Stages) -> None:
    """The series that has come, without a worker."""
    spool, now = Spool(node.settings.spool_folder), datetime.now(UTC)
    with node.database.begin() as c:
        for facts in unrevised(c, now):
            revision = series.add_revision(c, facts.series_id, spool, now)
            assert revision is not None
            examinations.record(c, revision.id, given.examine(revision))


def test_each_step_may_run_again(make_node: MakeNode, tmp_path: Path) -> None:
    node, memory = make_node(), Memory(is_blind=True)
    given = stages(node.settings, memory)
    send(node.settings, tmp_path)
    examine_here(node, given)
    copy = ask(node)
    spool = Spool(node.settings.spool_folder)
    steps = Copying(node.settings, node.database, spool, given)
    with node.database.begin() as connection:
        study_copies.set_state(connection, copy.id, CopyState.QUEUED)
    assert [steps.begin(copy.id), steps.begin(copy.id)] == [1, 1]
    found = [steps.make(copy.id, 0)]
    memory.seen.clear()  # another device would find another face
    assert [steps.make(copy.id, 0)] == found
    before = sum(map(len, spool.names()))
    no_room = node.settings.scp.model_copy(update={"minimum_free_bytes": 2**62})
    full = replace(steps, settings=node.settings.model_copy(update={"scp": no_room}))
    assert steps.record(copy.id, found) == ""
    assert "bytes would be free" in full.receive(copy.id, found)
    for _ in range(2):
        assert steps.record(copy.id, found) == ""
        assert steps.receive(copy.id, found) == ""
        assert decide(node, copy.copy_study_instance_uid).outcome is GateOutcome.HOLD
    for _ in range(2):
        assert steps.end(copy.id, found, "") == ""
    assert sum(map(len, spool.names())) == before + len(drawn())
    (made,) = findings(node, copy.copy_study_instance_uid)
    assert (made.instance_count, made.quarantined) == (len(drawn()), 0)
    assert made.origin is not None
    assert any("sees another region" in why for why in made.origin.objections)
    assert copy_of(node, copy).state is CopyState.DONE


def test_a_copy_for_which_there_is_no_memory_waits(make_node: MakeNode) -> None:
    node, tries = make_node(jobs={"examination_pause_seconds": 0.01}), []

    def copy_nothing(order: CopyOrder) -> SeriesCopy:
        tries.append(order)
        if len(tries) < 3:
            raise ExaminationPostponedError("waits for memory")
        return SeriesCopy(order.revision.series_instance_uid, left_out=("no brain was found",))

    with a_failed_copy(node, copy_nothing) as copy:
        assert len(tries) == 3
        assert copy_of(node, copy).sentence.startswith("no face could be removed")


def test_a_copy_that_fails_says_why_and_can_be_retried(make_node: MakeNode) -> None:
    node, is_broken = make_node(), [True]

    def copy_nothing(order: CopyOrder) -> SeriesCopy:
        if is_broken:
            raise ExaminationDiedError("the examining process was killed")
        return SeriesCopy(order.revision.series_instance_uid, left_out=("no brain was found",))

    with a_failed_copy(node, copy_nothing) as copy:
        assert copy_of(node, copy).sentence == "the examining process was killed"
        (job,) = (job for job in list_jobs(node.database) if job.stage is Stage.DEFACE)
        assert (job.state, job.error) == (JobState.FAILED, "the examining process was killed")
        is_broken.clear()
        retry(node.database, job.id)
        until(lambda: copy_of(node, copy).sentence.startswith("no face could be removed"))
    assert findings(node, copy.copy_study_instance_uid) == ()
