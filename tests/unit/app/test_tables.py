"""What the commands print: names whole at any width, and nothing that steers a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dicomnode.app import tables
from dicomnode.commands.common import show
from dicomnode.jobs.engine import Job, JobState
from dicomnode.jobs.lanes import Stage
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.status import SeriesStatus, StudyStatus

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG = "examine:" + "0123456789" * 12


def test_a_job_has_its_whole_id_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(LONG, Stage.EXAMINE, "2.25." + "7" * 40, JobState.FAILED, 1, AT, error="e " * 100)
    show(tables.jobs([job, job]), (), False)
    lines = capsys.readouterr().out.splitlines()
    assert lines.count(LONG) == 2
    assert "  failed, 1 attempt" in lines
    assert f"  {'e ' * 100}".rstrip() in (line.rstrip() for line in lines)


def test_no_jobs_are_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    show(tables.jobs([]), (), False)
    assert capsys.readouterr().out == "no job waits, runs or failed\n"


def test_a_quarantined_object_is_listed_with_reason_and_sender(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = QuarantinedObject(
        at=AT,
        name="conflict/" + "ab" * 32 + ".dcm",
        reason="conflict",
        sentence="other pixels under the UID of a stored instance",
        size_bytes=512,
        sop_instance_uid="1.2.3.4",
        series_instance_uid="1.2.3",
        calling_ae_title="CT\x1b[31m",
        peer_address="192.0.2.7",
    )
    show(tables.quarantine([found]), (), False)
    assert capsys.readouterr().out.splitlines() == [
        found.name,
        "  conflict: other pixels under the UID of a stored instance",
        "  series 1.2.3",
        "  instance 1.2.3.4",
        "  from CT [31m at 192.0.2.7, 2026-01-02T03:04:05+00:00, 512 bytes",
    ]


def test_no_volume_is_cut_off_where_the_terminal_is_narrow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    series = SeriesStatus(
        series_instance_uid="2.25." + "7" * 39,
        modality="CT",
        instance_count=128,
        state="examined",
        state_sentence="examined",
        first_received_at="",
        last_received_at="",
        revision=1,
        examined_at="",
        verdict="DEFACED",
        rule="rule v1",
        reasons=("344 ml of anonymised area in one piece",),
        volumes_ml={"foreground": 3724.4, "anonymised_area": 344.0},
        models=(),
        warnings=(),
        refusal_code="",
        refusal="",
        failure="",
        quarantined=2,
        deliveries=(),
    )
    show(tables.status([StudyStatus("1.2.3", "DEFACED", (series,))]), (), False)
    shown = capsys.readouterr().out
    assert "foreground 3724 " in shown
    assert "anonymised area 344 " in shown
    assert "2 in quarantine" in " ".join(shown.replace("│", " ").split())
