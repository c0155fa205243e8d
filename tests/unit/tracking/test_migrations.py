"""A database of an earlier version keeps what it holds."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.exc import IntegrityError

from dicomnode.config import CompletenessSettings
from dicomnode.domain import Acquisition, DeliveryState, Subject, VerdictKind
from dicomnode.tracking import (
    decisions,
    deliveries,
    examinations,
    expected,
    findings,
    instances,
    outdated,
    parked,
    refusals,
    reviews,
    series,
    study_list,
    work_queue,
)
from dicomnode.tracking.completeness import hint_of
from dicomnode.tracking.database import Database, _alembic_config, schema_versions
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.reviews import ReviewFilter
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.work_queue import QueueKind
from tests.unit.tracking.rows import (
    EVIDENCE,
    LOCALIZER,
    STUDY,
    at,
    examined,
    instance,
    segmentation,
)

AT = "2026-03-01 12:00:00"

# What version 0001 wrote of the evidence and the refusal in `rows`; it stays as it is.
EVIDENCE_0001 = json.dumps(
    {
        "volumes_ml": {"foreground": 4000.0, "anonymised_area": 320.5},
        "largest_component_ml": {"foreground": 3990.0, "anonymised_area": 300.0},
        "exposed_face_ml": 0.0,
        "models": [
            {
                "kind": "foreground",
                "name": "foreground-starter",
                "version": "1",
                "sha256": "ab" * 32,
            }
        ],
        "claims": {
            "patient_identity_removed": None,
            "deidentification_method": [],
            "deidentification_codes": ["113102/DCM"],
            "recognizable_visual_features": None,
            "burned_in_annotation": None,
            "body_part_examined": None,
        },
        "field_of_view_mm": [180.0, 240.0, 240.0],
        "spacing_mm": [1.0, 0.5, 0.5],
        "matrix": [180, 480, 480],
        "warnings": ["one slice is missing"],
    }
)
REFUSAL_0001 = json.dumps(
    {
        "code": "LOCALIZER",
        "sentence": "It is a localizer.",
        "attribute": "ImageType",
        "values": ["LOCALIZER"],
    }
)

# Series 1 was examined twice, and its SEG waits; series 2 was refused; series 3 failed.
ROWS_0001 = f"""
INSERT INTO studies VALUES ('{STUDY}', '{AT}');
INSERT INTO series (id, study_instance_uid, series_instance_uid, modality, first_received_at,
  last_received_at, instance_count, revised_count) VALUES
  (1, '{STUDY}', '1.1', 'MR', '{AT}', '{AT}', 120, 120),
  (2, '{STUDY}', '1.2', 'CT', '{AT}', '{AT}', 3, 3),
  (3, '{STUDY}', '1.3', 'CT', '{AT}', '{AT}', 4, 4);
INSERT INTO revisions (id, series_id, number, digest, instance_count, created_at, is_current)
  VALUES (1, 1, 1, 'd1', 120, '{AT}', true), (2, 2, 1, 'd2', 3, '{AT}', true),
  (3, 3, 1, 'd3', 4, '{AT}', true);
INSERT INTO examinations (id, series_id, revision_id, created_at, evidence, refusal, failure,
  software_version, examiner_digest, is_current) VALUES
  (11, 1, 1, '{AT}', :evidence, NULL, '', '0.1.0', 'old', false),
  (12, 1, 1, '{AT}', :evidence, NULL, '', '0.1.0', 'new', true),
  (13, 2, 2, '{AT}', NULL, :refusal, '', '0.1.0', 'new', true),
  (14, 3, 3, '{AT}', NULL, NULL, 'out of memory', '', '', true);
INSERT INTO verdicts (series_id, examination_id, kind, rule_id, rule_version, reasons, numbers,
  created_at, is_current) VALUES
  (1, 11, 'UNDETERMINED', 'doubt', 1, '["why"]', '{{"ml"\\: 1.5}}', '{AT}', false),
  (1, 12, 'DEFACED', 'removed', 2, '["because"]', '{{"ml"\\: 2.5}}', '{AT}', true);
INSERT INTO segmentations (id, examination_id, segments, sop_instance_uid, series_instance_uid,
  path, sha256) VALUES
  (21, 11, '["foreground"]', '2.25.9', '2.25.2', 'results/old.dcm', '{"ab" * 32}'),
  (22, 12, '["foreground", "face"]', '2.25.11', '2.25.2', 'results/mask1.dcm', '{"cd" * 32}');
INSERT INTO deliveries (id, segmentation_id, destination, state, attempts, created_at, updated_at)
  VALUES (31, 21, 'pacs', 'cancelled', 0, '{AT}', '{AT}'),
  (32, 22, 'pacs', 'pending', 3, '{AT}', '{AT}');
"""


def upgrade(database: Database, version: str) -> None:
    with database.begin() as connection:
        command.upgrade(_alembic_config(connection), version)


@pytest.fixture
def migrated(database_url: str) -> Database:
    """A node of version 0001 that was used, and then brought to this version."""
    database = Database(database_url)
    upgrade(database, "0001")
    values = {"evidence": EVIDENCE_0001, "refusal": REFUSAL_0001}
    with database.begin() as connection:
        for statement in filter(str.strip, ROWS_0001.split(";\n")):
            text = sa.text(statement)
            connection.execute(text, {key: values[key] for key in text.compile().params})
        if not database.is_sqlite:
            _let_ids_go_on(connection)
    database.migrate()
    return database


def _let_ids_go_on(connection: sa.Connection) -> None:
    for table in ("series", "revisions", "examinations", "segmentations", "deliveries"):
        connection.execute(sa.text(f"SELECT setval('{table}_id_seq', 100)"))


def test_an_examination_becomes_one_volume_with_its_verdict_and_its_seg(
    migrated: Database,
) -> None:
    with migrated.read() as connection:
        found, _, _ = findings.verdicts_of_study(connection, STUDY)
    (volume,) = found.volumes
    # Nobody recorded then how the images came to be.
    earlier = replace(EVIDENCE, acquisition=Acquisition())
    assert (volume.label, volume.images, volume.evidence) == ("", 120, earlier)
    assert volume.verdict == found.verdict
    assert volume.verdict.kind is VerdictKind.DEFACED
    assert (volume.verdict.reasons, volume.verdict.numbers) == (("because",), {"ml": 2.5})
    assert volume.segmentation == replace(segmentation(), pixel_sha256="")
    assert (found.state, found.examiner_digest, found.refusals) == ("examined", "new", ())


def test_what_was_examined_before_is_of_the_version_that_examined_it(migrated: Database) -> None:
    """Of the examination whose digest another network would have, nothing else."""
    subject = Subject("", "", (1.0, 0.5, 0.5))
    with migrated.read() as connection:
        assert [one.subjects for one in outdated.examined_now(connection)] == [(subject,), ()]
        assert outdated.count(connection, lambda subjects: "new") == 0
        assert outdated.count(connection, lambda subjects: "newer" if subjects else "new") == 1
    with migrated.begin() as connection:
        command.downgrade(_alembic_config(connection), "0006")
    migrated.migrate()
    with migrated.read() as connection:
        assert outdated.count(connection, lambda subjects: "newer" if subjects else "new") == 1


def test_a_refusal_becomes_a_row_and_is_counted(migrated: Database) -> None:
    with migrated.read() as connection:
        _, found, failed = findings.verdicts_of_study(connection, STUDY)
        assert refusals.counts(connection) == {"LOCALIZER": 1}
    assert (found.state, found.verdict, found.refusals) == ("refused", None, (LOCALIZER,))
    assert (failed.state, failed.failure, failed.refusals) == ("failed", "out of memory", ())


def test_deliveries_still_know_their_seg(migrated: Database) -> None:
    with migrated.begin() as connection:
        waiting = deliveries.load(connection, 32)
        assert waiting.segmentation == replace(segmentation(), pixel_sha256="")
        assert (waiting.examination_id, waiting.attempts) == (12, 3)
        assert deliveries.add(connection, 12, "pacs") == (32,)
        ended = deliveries.load(connection, 31)
    assert (ended.examination_id, ended.state) == (11, DeliveryState.CANCELLED)


def test_a_migrated_node_goes_on_examining(migrated: Database, spool: Spool) -> None:
    with migrated.begin() as connection:
        instances.add(connection, [instance(1, series="1.4")])
        revision = series.add_revision(connection, _newest_series(connection), spool, at(30))
        assert revision is not None
        examination_id = examinations.record(connection, revision.id, examined(revision))
        (delivery,) = deliveries.add(connection, examination_id, "pacs")
        assert deliveries.load(connection, delivery).examination_id == examination_id
    with pytest.raises(IntegrityError), migrated.begin() as connection:
        connection.execute(sa.text("DELETE FROM volumes"))  # the SEGs refer to them


def test_results_that_an_older_version_cannot_hold_go_and_the_series_stay(
    migrated: Database,
) -> None:
    with migrated.begin() as connection:
        command.downgrade(_alembic_config(connection), "0001")
    with migrated.read() as connection:
        counts = [_count(connection, name) for name in ("series", "revisions", "examinations")]
    assert counts == [3, 3, 0]
    migrated.migrate()
    with migrated.read() as connection:
        found = findings.verdicts_of_study(connection, STUDY)
    assert {each.state.value for each in found} == {"waiting"}


def _newest_series(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.text("SELECT max(id) FROM series")) or 0)


def _count(connection: sa.Connection, table: str) -> int:
    return int(connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0)


def test_a_series_received_before_signals_were_kept_is_completed_like_any_other(
    database_url: str, spool: Spool
) -> None:
    database = Database(database_url)
    upgrade(database, "0002")
    with database.begin() as connection:
        for statement in (
            f"INSERT INTO studies VALUES ('{STUDY}', '{AT}')",
            "INSERT INTO series (id, study_instance_uid, series_instance_uid, modality, "
            "first_received_at, last_received_at, instance_count, revised_count) "
            f"VALUES (1, '{STUDY}', '1.1', 'MR', '{AT}', '{AT}', 2, 1)",
            "INSERT INTO revisions (id, series_id, number, digest, instance_count, created_at, "
            f"is_current) VALUES (1, 1, 1, 'd1', 1, '{AT}', true)",
            *(
                "INSERT INTO instances (series_id, sop_instance_uid, sop_class_uid, "
                "transfer_syntax_uid, name, size_bytes, file_sha256, pixel_sha256, received_at, "
                f"association_id, first_revision) VALUES (1, '1.1.{number}', '1.2', '1.2', "
                f"'n{number}', 9, 'ab', 'cd', '{AT}', '', {revision})"
                for number, revision in ((1, "1"), (2, "NULL"))
            ),
        ):
            connection.execute(sa.text(statement))
        if not database.is_sqlite:
            _let_ids_go_on(connection)
    database.migrate()
    with database.begin() as connection:
        old = series.load_revision(connection, 1, spool)
        (facts,) = unrevised(connection, at(1))
        new = series.complete(connection, 1, spool, CompletenessSettings(), at(30))
    assert (old.completed_by, old.completion, len(old.paths)) == ("", "", 1)
    assert (hint_of(facts.hint_groups), facts.expected) == (None, ())
    assert new is not None
    assert (new.number, new.completed_by, len(new.paths)) == (2, "QUIET_TIME", 2)
    database.close()


def test_counts_keep_their_sources_and_notifications_begin_anew(database_url: str) -> None:
    database = Database(database_url)
    upgrade(database, "0005")
    with database.begin() as connection:
        for source, count in (("C-FIND", 140), ("IAN", 60)):
            values = f"'1.2', '1.3', '{source}', {count}, '{AT}'"
            connection.execute(sa.text(f"INSERT INTO expected_counts VALUES ({values})"))
    database.migrate()
    with database.begin() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM expected_counts")).all()
        assert (row.source, row.speaker, row.instance_count) == ("C-FIND", "", 140)
        expected.expect_count(connection, "1.2", "1.3", 150, "C-FIND", speaker="ARCHIVE")
        command.downgrade(_alembic_config(connection), "0005")
        (row,) = connection.execute(sa.text("SELECT * FROM expected_counts")).all()
        assert (row.source, row.instance_count) == ("C-FIND", 150)
    database.migrate()
    database.close()


def test_every_step_is_taken_with_data_in_it(migrated: Database, spool: Spool) -> None:
    """From this version back to the first, each step down, up and down again: what a version can
    hold of this one's data is there as its step up is taken."""
    with migrated.begin() as connection:
        instances.add(connection, [instance(1, series="1.4")])
        revision = series.add_revision(connection, _newest_series(connection), spool, at(30))
        assert revision is not None
        made = examinations.record(connection, revision.id, examined(revision))
        (delivery,) = deliveries.add(connection, made, "pacs")
        parked.park(connection, "pacs", parked.Parked(delivery, 2, 0.0, 0.0, 0.0, 0.0, 0.0))
        decisions.record(connection, "1.4", DecisionKind.DEFACED, account="anna", note="seen")
        expected.expect_count(connection, STUDY, "1.4", 1, "C-FIND", speaker="ARCHIVE")
    versions = sorted(schema_versions())
    for earlier, later in reversed(list(itertools.pairwise(versions))):
        with migrated.begin() as connection:
            command.downgrade(_alembic_config(connection), earlier)
            before = _count(connection, "series"), _count(connection, "instances")
        upgrade(migrated, later)
        with migrated.begin() as connection:
            assert (_count(connection, "series"), _count(connection, "instances")) == before
            command.downgrade(_alembic_config(connection), earlier)
    migrated.migrate()
    with migrated.read() as connection:
        assert (_count(connection, "series"), _count(connection, "instances")) == before
        states = {each.state.value for each in findings.verdicts_of_study(connection, STUDY)}
    assert states == {"waiting"}, "to be examined again"


def test_what_waited_for_a_destination_goes_on_with_all_of_its_patience(
    migrated: Database,
) -> None:
    with migrated.begin() as connection:
        command.downgrade(_alembic_config(connection), "0017")
        connection.execute(
            sa.text(
                "INSERT INTO parked_deliveries (delivery_id, destination, number, deadline) "
                "VALUES (32, 'pacs', 5, 1772366400.0)"
            )
        )
    migrated.migrate()
    with migrated.begin() as connection:
        waits = parked.Parked(32, 5, 0.0, 1772366400.0, 0.0, 0.0, 0.0)
        assert parked.take_first(connection, "pacs") == waits


def test_list_and_queues_begin_with_what_an_older_node_knew(migrated: Database) -> None:
    """Also with what people had decided; what was superseded waits for nobody."""
    with migrated.begin() as connection:
        decisions.record(
            connection, "1.2", DecisionKind.NOT_APPLICABLE, account="anna", note="a localizer"
        )
    with migrated.begin() as connection:
        command.downgrade(_alembic_config(connection), "0010")
    migrated.migrate()
    with migrated.read() as connection:
        (row,) = study_list.page(connection).rows
        (failed,) = work_queue.page(connection, QueueKind.FAILED).items
        waiting = [
            work_queue.page(connection, kind).items
            for kind in (QueueKind.WAITING, QueueKind.EXAMINING)
        ]
        one_person = reviews.page(connection, ReviewFilter(persons=1)).items
        two_persons = reviews.page(connection, ReviewFilter(persons=2)).items
    assert (row.instance_count, row.modalities, row.verdict, row.decided) == (
        127,
        ("CT", "MR"),
        "",
        1,
    )
    assert sorted(row.states) == ["examined", "failed", "refused"]
    assert (failed.key, failed.why, waiting) == (14, "out of memory", [(), ()])
    assert (one_person, [item.series_instance_uid for item in two_persons]) == ((), ["1.2"])
