"""What `dicomnode status` shows."""

from __future__ import annotations

import json
from dataclasses import asdict

from dicomnode.domain import VerdictKind
from dicomnode.tracking import deliveries, examinations, instances, series, status
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import SERIES, STUDY, at, examined, instance, refused


def test_an_unknown_uid_has_no_status(database: Database) -> None:
    with database.read() as connection:
        assert status.study_status(connection, "1.2.3") is None
        assert status.studies_status(connection) == ()


def test_the_status_of_a_study_is_json_and_tells_everything(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1), instance(2, series=f"{SERIES}.9")])
        first = series.add_revision(connection, 1, spool, at(30))
        second = series.add_revision(connection, 2, spool, at(30))
        assert first is not None
        assert second is not None
        examination_id = examinations.record(connection, first.id, examined(first))
        deliveries.add(connection, examination_id, "pacs")
        examinations.record(connection, second.id, refused(second))
        shown = status.study_status(connection, STUDY)
    assert shown is not None
    told = json.loads(json.dumps(asdict(shown)))
    assert told["verdict"] == "UNDETERMINED"  # the refused series proves nothing
    one, two = told["series"]
    assert one["state"] == "examined"
    assert one["reasons"] == ["an anonymised area of 320 ml"]
    assert one["volumes_ml"] == {"foreground": 4000.0, "anonymised_area": 320.5}
    assert one["models"] == ["foreground-starter 1"]
    assert [d["state"] for d in one["deliveries"]] == ["pending"]
    assert one["deliveries"][0]["segments"] == ["foreground", "face"]
    assert (two["state"], two["refusal_code"]) == ("refused", "LOCALIZER")
    assert two["refusal"] == "It is a localizer."


def test_a_series_uid_finds_its_study(database: Database) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        shown = status.study_status(connection, SERIES)
    assert shown is not None
    assert shown.study_instance_uid == STUDY


def test_a_study_has_no_verdict_while_a_series_is_open(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examinations.record(connection, revision.id, examined(revision))
        instances.add(connection, [instance(2, series=f"{SERIES}.9")])
        shown = status.study_status(connection, STUDY)
    assert shown is not None
    assert shown.verdict == ""


def test_a_study_has_the_worst_verdict_of_its_series(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        for number, kind in enumerate(VerdictKind, start=1):
            instances.add(connection, [instance(number, series=f"{SERIES}.{number}")])
            revision = series.add_revision(connection, number, spool, at(30))
            assert revision is not None
            examinations.record(connection, revision.id, examined(revision, kind))
        (shown,) = status.studies_status(connection)
    assert shown.verdict == "FACE_VISIBLE"


def test_a_verdict_is_not_shown_for_a_series_that_has_grown(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examinations.record(connection, revision.id, examined(revision))
        instances.add(connection, [instance(2)])
        shown = status.study_status(connection, STUDY)
    assert shown is not None
    assert (shown.series[0].state, shown.series[0].verdict) == ("receiving", "")
