"""MPPS and Instance Availability Notification from a real SCU to a real receiver."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    BasicFilmSession,
    CTImageStorage,
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
)

from dicomnode.scp import announced, procedure
from dicomnode.tracking import expected
from dicomnode.tracking.gate_schema import METADATA
from dicomnode.tracking.schema import expected_counts, procedure_steps
from tests.integration.scp.receiving import Node, running, shared_settings

STUDY, SERIES, PATIENT = "1.2.826.0.9.1", "1.2.826.0.9.1.1", "Somebody^Known"
CONFORMANCE = Path(__file__).parents[3] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("procedure")
    with running(shared_settings(folder), folder) as started:
        yield started


@contextmanager
def association(node: Node) -> Iterator[Association]:
    entity = AE("MODALITY")
    entity.add_requested_context(ModalityPerformedProcedureStep)
    entity.add_requested_context(InstanceAvailabilityNotification)
    host, port = node.address
    opened = entity.associate(host, int(port), ae_title=node.settings.scp.ae_title)
    assert opened.is_established
    try:
        yield opened
    finally:
        opened.release()


def instances(count: int, **more: str) -> list[Dataset]:
    made = []
    for number in range(count):
        one = Dataset()
        one.ReferencedSOPClassUID = CTImageStorage
        one.ReferencedSOPInstanceUID = f"{SERIES}.{number}"
        for name, value in more.items():
            setattr(one, name, value)
        made.append(one)
    return made


def new_step(study: str = STUDY, status: str = "IN PROGRESS") -> Dataset:
    step, scheduled = Dataset(), Dataset()
    scheduled.StudyInstanceUID = study
    step.ScheduledStepAttributesSequence = [scheduled]
    step.PatientName, step.PatientID, step.PatientBirthDate = PATIENT, "77-secret", "19700101"
    step.PerformedProcedureStepStatus = status
    step.PerformedProcedureStepDescription = f"Head of {PATIENT}"
    step.PerformedSeriesSequence = []
    return step


def ended(status: str, images: int, others: int = 0) -> Dataset:
    step, series = Dataset(), Dataset()
    step.PerformedProcedureStepStatus = status
    series.SeriesInstanceUID = SERIES
    series.SeriesDescription = PATIENT
    series.ReferencedImageSequence = instances(images)
    others_of = instances(images + others)[images:]
    series.ReferencedNonImageCompositeSOPInstanceSequence = others_of
    step.PerformedSeriesSequence = [series]
    return step


def notice(online: int, elsewhere: int = 0, study: str = STUDY, other: str = "NEARLINE") -> Dataset:
    made, series = Dataset(), Dataset()
    made.ReferencedPerformedProcedureStepSequence = []
    made.StudyInstanceUID = study
    series.SeriesInstanceUID = SERIES
    here = instances(online, InstanceAvailability="ONLINE", RetrieveAETitle="PACS")
    away = instances(online + elsewhere, InstanceAvailability=other, RetrieveAETitle="PACS")
    series.ReferencedSOPSequence = here + away[online:]
    made.ReferencedSeriesSequence = [series]
    return made


def create(node: Node, made: Dataset, uid: str | None, sop_class: str) -> Dataset:
    with association(node) as opened:
        status, _ = opened.send_n_create(made, sop_class, uid)
    return status


def change(node: Node, made: Dataset, uid: str) -> Dataset:
    with association(node) as opened:
        status, _ = opened.send_n_set(made, ModalityPerformedProcedureStep, uid)
    return status


def counts(node: Node, study: str = STUDY) -> dict[str, int]:
    """By source, of the one series."""
    database = node.database
    with database.read() as connection:
        rows = connection.execute(
            sa.select(expected_counts).where(
                expected_counts.c.study_instance_uid == study,
                expected_counts.c.series_instance_uid == SERIES,
            )
        ).all()
    database.close()
    return {row.source: row.instance_count for row in rows}


def announced_elsewhere(node: Node, study: str) -> int:
    """How many instances of the one series were announced and aren't here."""
    database = node.database
    with database.read() as connection:
        found = expected.never_received(connection, [study])
    database.close()
    return found[study][SERIES].count


def test_a_completed_step_says_how_many_instances_its_series_have(node: Node) -> None:
    study = f"{STUDY}.1"
    assert create(node, new_step(study), "1.2.3.1", ModalityPerformedProcedureStep).Status == 0
    assert counts(node, study) == {}
    assert change(node, ended("COMPLETED", 12, others=2), "1.2.3.1").Status == 0
    assert counts(node, study) == {"MPPS": 14}


def test_series_that_came_before_the_end_of_the_step_count(node: Node) -> None:
    study = f"{STUDY}.2"
    create(node, new_step(study), "1.2.3.2", ModalityPerformedProcedureStep)
    assert change(node, ended("IN PROGRESS", 9), "1.2.3.2").Status == 0
    assert counts(node, study) == {}
    only_the_end = Dataset()
    only_the_end.PerformedProcedureStepStatus = "COMPLETED"
    assert change(node, only_the_end, "1.2.3.2").Status == 0
    assert counts(node, study) == {"MPPS": 9}


def test_a_discontinued_step_says_nothing(node: Node) -> None:
    study = f"{STUDY}.3"
    create(node, new_step(study), "1.2.3.3", ModalityPerformedProcedureStep)
    assert change(node, ended("DISCONTINUED", 5), "1.2.3.3").Status == 0
    assert counts(node, study) == {}


@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
def test_a_step_that_has_ended_is_not_changed(node: Node, end: str) -> None:
    study, uid = f"{STUDY}.4.{len(end)}", f"1.2.3.4.{len(end)}"
    create(node, new_step(study), uid, ModalityPerformedProcedureStep)
    change(node, ended(end, 5), uid)
    before = counts(node, study)
    answer = change(node, ended("COMPLETED", 50), uid)
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
    assert counts(node, study) == before


def test_a_step_that_nobody_began_can_not_be_changed(node: Node) -> None:
    assert change(node, ended("COMPLETED", 5), "1.2.3.99").Status == 0x0112


def test_a_step_begins_once(node: Node) -> None:
    assert create(node, new_step(), "1.2.3.5", ModalityPerformedProcedureStep).Status == 0
    assert create(node, new_step(), "1.2.3.5", ModalityPerformedProcedureStep).Status == 0x0111


def test_what_can_be_had_is_expected_and_notices_add_up(node: Node) -> None:
    """PS3.4 R.1.1: a notice names any set of instances; NEARLINE ones come too."""
    study = f"{STUDY}.6"
    sop_class = InstanceAvailabilityNotification
    assert create(node, notice(7, 3, study), "1.2.3.6", sop_class).Status == 0
    assert announced_elsewhere(node, study) == 10
    assert create(node, notice(12, 0, study), "1.2.3.7", sop_class).Status == 0
    assert announced_elsewhere(node, study) == 12


def test_what_is_not_available_any_more_is_not_waited_for(node: Node) -> None:
    study = f"{STUDY}.7"
    sop_class = InstanceAvailabilityNotification
    create(node, notice(7, 0, study), "1.2.3.8", sop_class)
    assert create(node, notice(4, 3, study, other="UNAVAILABLE"), "1.2.3.9", sop_class).Status == 0
    assert announced_elsewhere(node, study) == 4


@pytest.mark.parametrize(
    "sop_class", [InstanceAvailabilityNotification, ModalityPerformedProcedureStep]
)
def test_an_object_without_a_uid_gets_one(node: Node, sop_class: str) -> None:
    made = new_step() if sop_class == ModalityPerformedProcedureStep else notice(1)
    assert create(node, made, None, sop_class).Status == 0


def without(made: Dataset, *path: str) -> Dataset:
    """Without the last of the keywords, in the first item of each sequence on the way."""
    inside = made
    for keyword in path[:-1]:
        inside = inside[keyword].value[0]
    del inside[path[-1]]
    return made


def with_value(made: Dataset, value: object, *path: str) -> Dataset:
    inside = made
    for keyword in path[:-1]:
        inside = inside[keyword].value[0]
    setattr(inside, path[-1], value)
    return made


_SERIES, _SOP = "ReferencedSeriesSequence", "ReferencedSOPSequence"
_SCHEDULED = "ScheduledStepAttributesSequence"
_STEP, _NOTICE = ModalityPerformedProcedureStep, InstanceAvailabilityNotification
BAD = {
    "no status": (_STEP, without(new_step(), "PerformedProcedureStepStatus"), 0x0120),
    "an empty status": (_STEP, with_value(new_step(), "", "PerformedProcedureStepStatus"), 0x0121),
    "an unknown status": (_STEP, new_step(status="STARTED"), 0x0106),
    "completed before it began": (_STEP, new_step(status="COMPLETED"), 0x0106),
    "no scheduled step": (_STEP, without(new_step(), _SCHEDULED), 0x0120),
    "no study": (_STEP, without(new_step(), _SCHEDULED, "StudyInstanceUID"), 0x0120),
    "a study that is no UID": (
        _STEP,
        with_value(new_step(), "abc", _SCHEDULED, "StudyInstanceUID"),
        0x0106,
    ),
    "a notice without study": (_NOTICE, without(notice(1), "StudyInstanceUID"), 0x0120),
    "a notice without series": (_NOTICE, with_value(notice(1), [], _SERIES), 0x0121),
    "a series without instances": (_NOTICE, without(notice(1), _SERIES, _SOP), 0x0120),
    "a series that is no UID": (
        _NOTICE,
        with_value(notice(1), "x", _SERIES, "SeriesInstanceUID"),
        0x0106,
    ),
    "no availability": (
        _NOTICE,
        without(notice(1), _SERIES, _SOP, "InstanceAvailability"),
        0x0120,
    ),
    "an unknown availability": (
        _NOTICE,
        with_value(notice(1), "SOMEWHERE", _SERIES, _SOP, "InstanceAvailability"),
        0x0106,
    ),
}


@pytest.mark.parametrize(("sop_class", "made", "status"), BAD.values(), ids=BAD)
@pytest.mark.filterwarnings("ignore")
def test_what_can_not_be_used_gets_its_status(
    node: Node, sop_class: str, made: Dataset, status: int
) -> None:
    answer = create(node, made, "1.2.3.10", sop_class)
    assert answer.Status == status
    assert answer.ErrorComment
    with association(node) as opened:  # and the receiver goes on
        assert opened.is_established


def test_an_instance_uid_that_is_none_is_refused() -> None:
    with pytest.raises(announced.RefusedAnnouncementError) as refused:
        procedure._instance_uid("not a UID")
    assert refused.value.status == 0x0117


def test_bytes_that_are_no_data_set_are_a_failure(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = b"\x40\0\x70\x02\xff\xff\xff\xff" + PATIENT.encode() * 9
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_: broken)
    assert create(node, new_step(), "1.2.3.11", ModalityPerformedProcedureStep).Status == 0x0110


def test_other_services_are_not_offered(node: Node) -> None:
    entity = AE("PRINTER")
    entity.add_requested_context(BasicFilmSession)
    host, port = node.address
    assert not entity.associate(host, int(port), ae_title=node.settings.scp.ae_title).is_established


def test_nothing_of_the_patient_is_kept_or_logged(node: Node) -> None:
    uid = "1.2.3.12"
    create(node, new_step(f"{STUDY}.12"), uid, ModalityPerformedProcedureStep)
    change(node, ended("COMPLETED", 3), uid)
    database = node.database
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(procedure_steps))
        kept = [
            json.dumps(
                [dict(row._mapping) for row in connection.execute(sa.select(table))], default=str
            )
            for table in METADATA.sorted_tables
        ]
    database.close()
    for text in (*kept, node.log.read_text()):
        for secret in ("Somebody", "77-secret", "19700101"):
            assert secret not in text


def test_every_status_that_is_answered_is_documented_and_no_other() -> None:
    text = CONFORMANCE.read_text()
    documented = re.findall(r"^\| N-(?:CREATE|SET).*?\| (0x\w{4}) \|", text, re.M)
    answered = {
        procedure.SUCCESS,
        procedure.PROCESSING_FAILURE,
        procedure.DUPLICATE,
        procedure.NO_SUCH_INSTANCE,
        procedure.INVALID_INSTANCE,
        procedure.NO_SUCH_CLASS,
        announced.INVALID_VALUE,
        announced.MISSING_ATTRIBUTE,
        announced.MISSING_VALUE,
    }
    assert {int(status, 16) for status in documented} == answered
