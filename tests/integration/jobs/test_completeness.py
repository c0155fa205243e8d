"""From real associations to one current examination of the whole series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, ModalityPerformedProcedureStep

from dicomnode.tracking.schema import examinations, revisions
from tests.factories import make_series
from tests.integration.jobs.conftest import Node, until
from tests.integration.scp.receiving import running

MakeNode = Callable[..., Node]
SLICES = 12


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return make_series(tmp_path / "series", slices=SLICES, modality="CT")


@contextmanager
def association(node: Node) -> Iterator[Association]:
    entity = AE("MODALITY")
    entity.add_requested_context(CTImageStorage)
    entity.add_requested_context(ModalityPerformedProcedureStep)
    scp = node.settings.scp
    opened = entity.associate("127.0.0.1", scp.port, ae_title=scp.ae_title)
    assert opened.is_established
    yield opened
    if opened.is_established:
        opened.release()


def send(opened: Association, paths: Sequence[Path]) -> None:
    for path in paths:
        assert opened.send_c_store(dcmread(path)).Status == 0x0000


def rows(node: Node) -> list[tuple[int, bool, bool | None, str]]:
    """Of each revision: instances, whether it and its examination are current, its signal."""
    e, r = examinations.c, revisions.c
    query = (
        sa.select(r.instance_count, r.is_current, e.is_current, r.completed_by)
        .outerjoin_from(revisions, examinations, e.revision_id == r.id)
        .order_by(r.number)
    )
    with node.database.read() as connection:
        return [tuple(row) for row in connection.execute(query)]  # type: ignore[misc]


def examined_whole(node: Node) -> bool:
    found = rows(node)
    return bool(found) and found[-1][:3] == (SLICES, True, True)


def test_a_series_in_pieces_with_an_abort_and_restarts_is_examined_once(
    make_node: MakeNode, files: list[Path], tmp_path: Path, database_url: str
) -> None:
    quiet = {"quiet_seconds": 4.0, "shortest_quiet_seconds": 4.0}
    node = make_node(url=database_url, completeness=quiet)
    with running(node.settings, tmp_path / "receiver") as receiver:
        with node.working(), association(node) as opened:
            send(opened, files[:4])
        # The worker is gone, and comes back while the rest is being sent.
        with association(node) as opened, node.working():
            send(opened, files[4:6])
            opened.abort()
        receiver.stop()
    with running(node.settings, tmp_path / "receiver"), association(node) as opened:
        send(opened, files[:1])  # from the beginning, as senders do
        with node.working():
            send(opened, files[1:])
            opened.release()
            until(lambda: examined_whole(node))
            with association(node) as again:
                send(again, files)  # and once more: it changes nothing
    (only,) = rows(node)
    # The abort is forgotten where it was noticed before the sender came back.
    assert only[:3] == (SLICES, True, True)
    assert only[3] in ("ASSOCIATION_RELEASED", "QUIET_TIME")


def test_a_late_slice_supersedes_what_was_examined(
    make_node: MakeNode, files: list[Path], tmp_path: Path
) -> None:
    node = make_node(completeness={"quiet_seconds": 0.5})
    with running(node.settings, tmp_path / "receiver"), node.working():
        with association(node) as opened:
            send(opened, files[:-1])
        until(lambda: [row[:3] for row in rows(node)] == [(SLICES - 1, True, True)])
        with association(node) as opened:
            send(opened, files[-1:])
        until(lambda: examined_whole(node))
    assert [row[:3] for row in rows(node)] == [(SLICES - 1, False, False), (SLICES, True, True)]


def performed(path: Path) -> tuple[Dataset, Dataset]:
    """A procedure step for the series of this file, as it begins and as it ends."""
    image = dcmread(path, stop_before_pixels=True)
    begins, scheduled, ends, series = Dataset(), Dataset(), Dataset(), Dataset()
    scheduled.StudyInstanceUID = image.StudyInstanceUID
    begins.ScheduledStepAttributesSequence = [scheduled]
    begins.PerformedProcedureStepStatus = "IN PROGRESS"
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedImageSequence = []
    for number in range(SLICES):
        made = Dataset()
        made.ReferencedSOPClassUID = CTImageStorage
        made.ReferencedSOPInstanceUID = f"1.2.3.{number}"
        series.ReferencedImageSequence.append(made)
    ends.PerformedProcedureStepStatus = "COMPLETED"
    ends.PerformedSeriesSequence = [series]
    return begins, ends


def test_a_completed_procedure_step_ends_the_wait(
    make_node: MakeNode, files: list[Path], tmp_path: Path
) -> None:
    """The quiet time is an hour, so nothing else can have fired."""
    node = make_node(completeness={"quiet_seconds": 3600.0, "shortest_quiet_seconds": 3600.0})
    begins, ends = performed(files[0])
    with running(node.settings, tmp_path / "receiver"), node.working():
        with association(node) as opened:
            step = ModalityPerformedProcedureStep
            assert opened.send_n_create(begins, step, "1.2.9")[0].Status == 0
            send(opened, files)
            assert opened.send_n_set(ends, step, "1.2.9")[0].Status == 0
        until(lambda: examined_whole(node))
    assert [row[3] for row in rows(node)] == ["MPPS_COMPLETED"]


def test_the_count_at_the_sender_ends_the_wait(
    make_node: MakeNode, files: list[Path], tmp_path: Path
) -> None:
    """It first has a part only: the node waits for what the sender has."""
    node = make_node(completeness={"quiet_seconds": 600.0, "shortest_quiet_seconds": 0.2})
    series_uid = dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID
    asked: list[str] = []

    def count(calling_ae_title: str, _study_uid: str) -> Mapping[str, int]:
        asked.append(calling_ae_title)
        return {series_uid: SLICES}

    with running(node.settings, tmp_path / "receiver"), node.working(count_at_sender=count):
        with association(node) as opened:
            send(opened, files[:5])
        until(lambda: asked == ["MODALITY"])
        assert rows(node) == []
        with association(node) as opened:
            send(opened, files[5:])
        until(lambda: examined_whole(node))
    assert [row[3] for row in rows(node)] == ["SENDER_COUNT"]
