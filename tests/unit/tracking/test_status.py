"""What `dicomnode status` shows."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace

from dicomnode.domain import Acquisition, FacePart, FaceSurface, HeaderClaims, VerdictKind, as_json
from dicomnode.tracking import (
    associations,
    deliveries,
    examinations,
    instances,
    series,
    status,
)
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import (
    EVIDENCE,
    LOCALIZER,
    SERIES,
    STUDY,
    association,
    at,
    examined,
    instance,
    refused,
    two_echoes,
    volume,
)


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
    (only,) = one["volumes"]
    assert (only["label"], only["images"], only["verdict"]) == ("", 120, "DEFACED")
    assert (only["matrix"], only["spacing_mm"]) == ([180, 480, 480], [1.0, 0.5, 0.5])
    assert only["volumes_ml"] == one["volumes_ml"]
    assert only["face_surface"] is None  # measured by later versions only
    assert (one["refusals"], two["volumes"]) == ([], [])
    (refusal,) = two["refusals"]
    assert refusal["attribute"] == "ImageType"
    assert (refusal["values"], refusal["images"]) == (["LOCALIZER"], 3)


def test_a_series_of_several_volumes_shows_each_and_counts_as_the_worst(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examination_id = examinations.record(connection, revision.id, two_echoes(revision))
        deliveries.add(connection, examination_id, "pacs")
        found = status.study_status(connection, STUDY)
    assert found is not None
    (shown,) = found.series
    assert (found.verdict, shown.verdict) == ("FACE_VISIBLE", "FACE_VISIBLE")
    assert shown.state == "examined"
    assert [(volume.label, volume.verdict) for volume in shown.volumes] == [
        ("EchoTime 4.92", "DEFACED"),
        ("EchoTime 7.38", "FACE_VISIBLE"),
    ]
    assert [refusal.code for refusal in shown.refusals] == ["LOCALIZER"]
    assert (shown.refusal_code, shown.refusal) == ("", "")
    assert len(shown.deliveries) == 2


def test_what_was_set_aside_beside_a_defaced_volume_leaves_the_study_undetermined(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        partly = replace(examined(revision), set_aside=(LOCALIZER,))
        examinations.record(connection, revision.id, partly)
        found = status.study_status(connection, STUDY)
    assert found is not None
    assert (found.verdict, found.series[0].verdict) == ("UNDETERMINED", "DEFACED")


def test_what_another_version_said_is_shown_and_proves_nothing(
    database: Database, spool: Spool
) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examination = replace(examined(revision), examiner_digest="old")
        examinations.record(connection, revision.id, examination)
        now = status.study_status(connection, STUDY, lambda subjects: "old")
        later = status.study_status(connection, STUDY, lambda subjects: "new")
    assert now is not None
    assert later is not None
    assert (now.verdict, now.series[0].outdated) == ("DEFACED", "")
    assert (later.verdict, later.series[0].verdict) == ("UNDETERMINED", "DEFACED")
    assert "dicomnode reexamine" in later.series[0].outdated


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
    assert [volume.verdict for volume in shown.series[0].volumes] == [""]


def test_who_keeps_an_association_open_is_said(database: Database) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("a")])
        instances.add(connection, [instance(1, association="a"), instance(1, series="1.9")])
        study = status.study_status(connection, STUDY)
        assert study is not None
        for one in study.series:
            assert "from SCANNER is open since 2026-03-01T12:00:00" in one.state_sentence
        associations.close(connection, [ClosedAssociation("a", "released", at(5))])
        study = status.study_status(connection, STUDY)
        assert study is not None
        assert not any("open since" in one.state_sentence for one in study.series)


def test_what_was_seen_of_the_face_is_kept_and_shown(database: Database, spool: Spool) -> None:
    surface = FaceSurface(231.4, 93.5, 6.5, (FacePart.UPPER, FacePart.MIDDLE))
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        found = volume()
        told = replace(found.evidence, face_surface=surface, face_probability=0.25)
        seen = replace(found, evidence=told)
        examinations.record(connection, revision.id, replace(examined(revision), volumes=(seen,)))
        shown = status.study_status(connection, STUDY)
    assert shown is not None
    (only,) = json.loads(json.dumps(as_json(shown)))["series"][0]["volumes"]
    assert only["face_probability"] == 0.25
    assert only["face_surface"] == {
        "area_cm2": 231.4,
        "anonymised_percent": 93.5,
        "intact_percent": 6.5,
        "parts": ["upper", "middle"],
    }


def test_what_headers_say_is_shown_for_each_volume(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examinations.record(connection, revision.id, examined(revision))
        shown = status.study_status(connection, STUDY)
    assert shown is not None
    (only,) = json.loads(json.dumps(as_json(shown)))["series"][0]["volumes"]
    assert only["claims"]["deidentification_codes"] == ["113102/DCM"]
    assert set(only["claims"]) == {each.name for each in fields(HeaderClaims)}
    assert only["acquisition"] == {
        "slice_spacing_mm": 1.0,
        "image_types": ["AXIAL", "ORIGINAL", "PRIMARY"],
        "scanning_sequences": ["GR"],
    }


def test_evidence_of_an_earlier_version_is_read_and_says_that_it_does_not_know() -> None:
    old = examinations.EVIDENCE.dump_python(EVIDENCE, mode="json")
    for key in ("acquisition", "unpictured", "face_surface", "face_probability", "unanswered"):
        del old[key]
    assert examinations.EVIDENCE.validate_python(old).acquisition == Acquisition()
