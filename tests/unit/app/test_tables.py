"""What the commands print: names whole at any width, and nothing that steers a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dicomnode.app import tables
from dicomnode.commands import common
from dicomnode.commands.common import show
from dicomnode.domain import Acquisition, HeaderClaims
from dicomnode.jobs.engine import Job, JobState
from dicomnode.jobs.lanes import Stage
from dicomnode.tracking.peers import Away
from dicomnode.tracking.pulls import Pull, PullState, PullSummary
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.refusals import RefusalCount
from dicomnode.tracking.status import RefusalStatus, SeriesStatus, StudyStatus, VolumeStatus

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG = "examine:" + "0123456789" * 12


def test_a_job_has_its_whole_id_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(LONG, Stage.EXAMINE, "2.25." + "7" * 40, JobState.FAILED, 1, AT, error="e " * 100)
    show(tables.jobs([job, job]), (), False)
    lines = capsys.readouterr().out.splitlines()
    assert lines.count(LONG) == 2
    assert "  failed, 1 attempt" in lines
    assert f"  {'e ' * 100}".rstrip() in (line.rstrip() for line in lines)


def test_a_destination_that_is_away_is_told_on_one_line() -> None:
    peer = Away("pacs", AT, AT, 1000, "no answer\x1b[2J")
    line = tables.away(peer).plain
    assert line.startswith("destination pacs is away since 2026-01-02T03:04:05+00:00, 1000 deliv")
    assert "\x1b" not in line


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


VOLUME = VolumeStatus(
    label="",
    images=128,
    verdict="DEFACED",
    rule="rule v1",
    reasons=("344 ml of anonymised area in one piece",),
    volumes_ml={"foreground": 3724.4, "anonymised_area": 344.0},
    models=(),
    warnings=(),
    matrix=(128, 256, 256),
    spacing_mm=(1.0, 1.0, 1.0),
    claims=HeaderClaims(),
    acquisition=Acquisition(),
)
SERIES = SeriesStatus(
    series_instance_uid="2.25." + "7" * 39,
    modality="CT",
    instance_count=128,
    state="examined",
    state_sentence="examined",
    first_received_at="",
    last_received_at="",
    revision=1,
    examined_at="",
    verdict=VOLUME.verdict,
    rule=VOLUME.rule,
    reasons=VOLUME.reasons,
    volumes_ml=VOLUME.volumes_ml,
    models=(),
    warnings=(),
    refusal_code="",
    refusal="",
    failure="",
    quarantined=2,
    deliveries=(),
    volumes=(VOLUME,),
    refusals=(),
)
LOCALIZER = RefusalStatus("LOCALIZER", "a localizer is no volume", "ImageType", ("LOCALIZER",), 3)


def shown(series: SeriesStatus, capsys: pytest.CaptureFixture[str]) -> str:
    """What `status` prints of a series, without its lines and folds."""
    show(tables.status([StudyStatus("1.2.3", series.verdict, (series,))]), (), False)
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_no_volume_is_cut_off_where_the_terminal_is_narrow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(SERIES, capsys)
    assert "foreground 3724 " in text
    assert "anonymised area 344 " in text
    assert "2 in quarantine" in text


@pytest.mark.parametrize("signal", ["", "QUIET_TIME"])
def test_the_signal_that_found_a_series_complete_is_named(
    signal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(replace(SERIES, completed_by=signal), capsys)
    assert ("whole" in text) == bool(signal)


@pytest.mark.usefixtures("_wide")
def test_what_is_missing_is_said_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(replace(SERIES, missing="384 of 424 are[b] here\x1b"), capsys)
    assert "384 of 424 are[b] here" in text
    assert "\x1b" not in text


@pytest.fixture
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.out, "_width", 400)


@pytest.mark.usefixtures("_wide")
def test_several_volumes_are_told_apart_and_set_asides_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    face = replace(VOLUME, label="EchoTime 9\x1b[31m", verdict="FACE_VISIBLE")
    volumes = (replace(VOLUME, label="EchoTime 5"), face)
    text = shown(replace(SERIES, volumes=volumes, refusals=(LOCALIZER,)), capsys)
    assert "1. EchoTime 5: DEFACED" in text
    assert "2. EchoTime 9 [31m: FACE_VISIBLE" in text
    assert "2. foreground 3724" in text
    assert "3 images set aside: LOCALIZER" in text
    assert "a localizer is no volume" in text


@pytest.mark.usefixtures("_wide")
def test_a_series_that_was_refused_as_a_whole_says_its_code_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(replace(SERIES, verdict="", volumes=(), refusals=(LOCALIZER,)), capsys)
    assert "LOCALIZER" in text
    assert "set aside" not in text


def test_the_counters_of_refusals_stand_below_the_studies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = (RefusalCount("LOCALIZER", 12, 7),)
    show(tables.status([StudyStatus("1.2.3", "DEFACED", (SERIES,))], counts), (), False)
    last = capsys.readouterr().out.replace("│", " ").splitlines()[-2]
    assert last.split() == ["LOCALIZER", "12", "7"]


@pytest.mark.parametrize(("unfinished", "hint"), [(1, True), (0, False)])
def test_going_on_is_offered_where_something_can_be_gone_on_with(
    capsys: pytest.CaptureFixture[str], unfinished: int, hint: bool
) -> None:
    done = Pull(1, "archive", "1.2.1", PullState.DONE, 1, 14, 14, "", AT, AT)
    failed = Pull(2, "archive", "1.2.2", PullState.FAILED, 3, 14, 12, "it broke off", AT, AT)
    summary = PullSummary("archive", (done, failed), 1 - unfinished, unfinished)
    show(tables.pulls(summary, "dicomnode pull --resume --config here.toml"), (), False)
    told = capsys.readouterr().out
    assert "26 instances here" in told
    assert ("go on: dicomnode pull --resume --config here.toml\n" in told) == hint
