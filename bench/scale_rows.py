"""The rows of a large node: a few million of them, by INSERT ... SELECT in the database itself.

Everything follows from the number of a row, so the same database comes out every time. Three series
a study, ten instances a series; shares as a site has them after some years: most series examined
and delivered, some refused, failed, superseded or decided by a person, the newest still on the way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import Evidence, HeaderClaims, ModelIdentity, SegmentKind, Subject
from dicomnode.tracking import outdated
from dicomnode.tracking.database import Database
from dicomnode.tracking.examinations import EVIDENCE
from dicomnode.tracking.gate_schema import METADATA
from dicomnode.tracking.study_summaries import tell_all_anew

EXAMINER = "ab" * 32
SERIES_A_STUDY, INSTANCES_A_SERIES = 3, 10
SUBJECT = Subject("MR", "HEAD", (1.0, 0.5, 0.5))
# As `study_uid`.
STUDY = "'1.3.12.2.1107.5.' || ({i} % 17) || '.30000' || (100000000 + {i})"
# Of the number of a series, spread evenly over 0 to 999.
SHARE = "(x.id * 2654435761 / 4096 % 1000)"
KIND = (
    f"CASE WHEN {SHARE} < 173 THEN 'FACE_VISIBLE' WHEN {SHARE} < 260 THEN 'UNDETERMINED' "
    f"WHEN {SHARE} < 331 THEN 'NO_FACE_IN_VIEW' ELSE 'DEFACED' END"
)
FAILED, REFUSED = f"{SHARE} < 3", f"({SHARE} >= 3 AND {SHARE} < 133)"
JUDGED = f"{SHARE} >= 133"
# The newest are on the way; of the doubts the older ones were decided.
HAS_REVISION, IS_EXAMINED = "x.id <= :series - 300", "x.id <= :series - 2300"
DECIDED = f"({SHARE} >= 173 AND {SHARE} < 260 AND x.id % 10 < 6)"
_PART = 50_000
REASONS = json.dumps(["320 ml of anonymised area in one piece"])


def study_uid(number: int) -> str:
    """Of the study of this number, from 1; its series end in .1, .2 and .3."""
    return f"1.3.12.2.1107.5.{number % 17}.30000{100000000 + number}"


def fill(database: Database, series: int, say: Callable[[str], object] = print) -> None:
    """Table by table, each in one transaction or several; what is there already is left."""
    dropped = [index for table in METADATA.tables.values() for index in table.indexes]
    with _unchecked(database) as connection:
        if _is_told(connection):
            return
        for index in dropped:
            index.drop(connection, checkfirst=True)
        connection.commit()
        for table, select in _rows(database.is_sqlite).items():
            name = table.split()[0]
            if ":first" in select:
                _insert_in_parts(connection, f"INSERT INTO {table} {select}", series)
            elif connection.scalar(sa.text(f"SELECT 1 FROM {name} LIMIT 1")) is None:
                say(f"  {name} ...")
                _insert(connection, f"INSERT INTO {table} {select}", series)
            connection.commit()
        say("  indexes and summaries ...")
        for index in dropped:
            index.create(connection, checkfirst=True)
            connection.commit()
        tell_all_anew(connection)
        _let_numbers_go_on(connection)
        connection.commit()
    with database.engine.connect() as connection:
        settled = connection.execution_options(isolation_level="AUTOCOMMIT")
        settled.execute(sa.text("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE"))


def _let_numbers_go_on(c: sa.Connection) -> None:
    count = "(SELECT count(*) FROM audit_events)"
    c.execute(sa.text(f"UPDATE audit_head SET row_count = {count}"))
    for name in (table for table in METADATA.tables if c.dialect.name == "postgresql"):
        if isinstance(METADATA.tables[name].autoincrement_column, sa.Column):
            sequence = f"pg_get_serial_sequence('{name}', 'id')"
            c.execute(sa.text(f"SELECT setval({sequence}, (SELECT max(id) FROM {name}))"))


def _is_told(c: sa.Connection) -> bool:
    told = c.scalar(sa.text("SELECT count(*) FROM studies WHERE last_received_at IS NULL"))
    return bool(c.scalar(sa.text("SELECT 1 FROM studies LIMIT 1"))) and told == 0


def _insert_in_parts(c: sa.Connection, statement: str, series: int) -> None:
    """Instances, behind those that are there."""
    done = c.scalar(sa.text("SELECT max(series_id) FROM instances")) or 0
    for first in range(done + 1, series + 1, _PART):
        _insert(c, statement, series, first=first, last=first + _PART - 1)
        c.commit()


def _insert(c: sa.Connection, statement: str, series: int, **more: int) -> None:
    text = sa.text(statement)
    values = {
        **more,
        "series": series,
        "studies": series // SERIES_A_STUDY,
        "reasons": REASONS,
        "evidence": _evidence(),
        "subjects": outdated.encode([SUBJECT]),
    }
    c.execute(text, {key: values[key] for key in text.compile().params})


@contextmanager
def _unchecked(database: Database) -> Iterator[sa.Connection]:
    """Without foreign keys, which millions of rows would be asked for one by one."""
    with database._migrating_engine().connect() as connection:
        if database.is_sqlite:
            # Before the first transaction; afterwards they are refused, or too late.
            raw: Any = connection.connection.driver_connection
            for pragma in ("cache_size=-1000000", "synchronous=OFF"):
                raw.execute(f"PRAGMA {pragma}")
        else:
            connection.execute(sa.text("SET session_replication_role = replica"))
            connection.execute(sa.text("SET maintenance_work_mem = '1GB'"))
            connection.execute(sa.text("SET work_mem = '256MB'"))
            connection.commit()
        yield connection


def _rows(is_sqlite: bool) -> dict[str, str]:
    def numbers(count: str) -> str:
        if is_sqlite:
            return (
                "(WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n "
                f"WHERE id < {count}) SELECT id FROM n) x"
            )
        return f"generate_series(1, CAST({count} AS integer)) x(id)"

    def at(seconds: str) -> str:
        if is_sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%S.000000', '2020-01-01', ({seconds}) || ' seconds')"
        return f"(timestamptz '2020-01-01 00:00:00+00' + ({seconds}) * interval '1 second')"

    def json_of(value: str) -> str:
        return value if is_sqlite else f"CAST({value} AS json)"

    judgement = f"'rule-of-bench', 1, {json_of(':reasons')}, {json_of(repr('{}'))}"
    study = "((x.id + 2) / 3)"
    uid = STUDY.format(i=study)
    # A study every six minutes, its series a minute apart, examined a quarter of an hour later.
    received, examined = at(f"{study} * 360 + x.id % 3 * 60"), at(f"{study} * 360 + 900")
    count = INSTANCES_A_SERIES
    sha = "'" + "cd" * 32 + "'"
    own = f"2.25.{'7' * 20}"
    return {
        "studies (study_instance_uid, first_received_at)": (
            f"SELECT {STUDY.format(i='x.id')}, {at('x.id * 360')} FROM {numbers(':studies')}"
        ),
        "series (id, study_instance_uid, series_instance_uid, modality, first_received_at, "
        "last_received_at, instance_count, revised_count)": (
            f"SELECT x.id, {uid}, {uid} || '.' || (x.id % 3 + 1), "
            f"CASE WHEN {study} % 100 < 60 THEN 'MR' WHEN {study} % 100 < 98 THEN 'CT' "
            f"WHEN {study} % 1000 = 999 THEN 'NM' ELSE 'PT' END, {received}, {received}, {count}, "
            f"CASE WHEN {HAS_REVISION} THEN {count} ELSE 0 END "
            f"FROM {numbers(f':studies * {SERIES_A_STUDY}')}"
        ),
        "instances (id, series_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, name, "
        "size_bytes, file_sha256, pixel_sha256, received_at, association_id, first_revision)": (
            f"SELECT (x.id - 1) * {count} + k.id, x.id, x.series_instance_uid || '.' || k.id, "
            "'1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.1.2.1', "
            f"(10000000 + x.id) || '/{'a' * 48}' || k.id || '.dcm', 524288, {sha}, {sha}, "
            f"x.first_received_at, '', CASE WHEN {HAS_REVISION} THEN 1 END "
            f"FROM series x, {numbers(str(count)).removesuffix(' x').removesuffix(' x(id)')} "
            f"{'k' if is_sqlite else 'k(id)'} WHERE x.id BETWEEN :first AND :last"
        ),
        "associations (id, receiver_id, opened_at, heartbeat_at, closed_at, outcome, is_settled)": (
            f"SELECT 'a' || x.id, 'r1', {at('x.id * 360')}, {at('x.id * 360')}, "
            f"{at('x.id * 360 + 60')}, 'released', true FROM {numbers(':studies')}"
        ),
        "association_series (series_id, association_id)": (
            f"SELECT x.id, 'a' || {study} FROM series x"
        ),
        "revisions (id, series_id, number, digest, instance_count, created_at, completed_by, "
        "completion, examination_started_at, is_examined, is_current)": (
            f"SELECT x.id, x.id, 1, {sha}, {count}, {examined}, 'ASSOCIATION_RELEASED', "
            "'every association was released; nothing came for 30 s', "
            f"CASE WHEN {IS_EXAMINED} OR x.id % 1000 = 0 THEN {examined} END, {IS_EXAMINED}, true "
            f"FROM series x WHERE {HAS_REVISION}"
        ),
        "examinations (id, series_id, revision_id, created_at, failure, software_version, "
        "examiner_digest, subjects, is_current)": (
            f"SELECT x.id, x.id, x.id, {examined}, "
            f"CASE WHEN {FAILED} THEN 'out of memory' ELSE '' END, '0.1.0', '{EXAMINER}', "
            f"CASE WHEN {JUDGED} THEN :subjects ELSE '[]' END, true FROM series x "
            f"WHERE {IS_EXAMINED} UNION ALL "
            f"SELECT :series + x.id, x.id, x.id, {received}, '', '0.0.9', '{'0' * 64}', "
            f":subjects, false FROM series x WHERE {IS_EXAMINED} AND {JUDGED} AND x.id % 20 = 0"
        ),
        "verdicts (id, series_id, examination_id, kind, rule_id, rule_version, reasons, numbers, "
        "created_at, is_current, decided_by)": (
            f"SELECT x.id, x.id, x.id, {KIND}, {judgement}, {examined}, true, "
            f"CASE WHEN {DECIDED} THEN 1 ELSE 0 END "
            f"FROM series x WHERE {IS_EXAMINED} AND {JUDGED} UNION ALL "
            f"SELECT :series + x.id, x.id, :series + x.id, 'UNDETERMINED', {judgement}, "
            f"{received}, false, 0 "
            f"FROM series x WHERE {IS_EXAMINED} AND {JUDGED} AND x.id % 20 = 0"
        ),
        "volumes (id, examination_id, number, label, images, evidence, kind, rule_id, "
        "rule_version, reasons, numbers)": (
            f"SELECT x.id, x.id, 1, '', {count}, {json_of(':evidence')}, {KIND}, {judgement} "
            f"FROM series x WHERE {IS_EXAMINED} AND {JUDGED}"
        ),
        "refusals (id, examination_id, code, sentence, attribute_values, images, created_at, "
        "is_current)": (
            f"SELECT x.id, x.id, CASE WHEN {SHARE} < 123 THEN 'LOCALIZER' ELSE "
            f"'SECONDARY_CAPTURE' END, 'It is a localizer.', '[]', {count}, {examined}, true "
            f"FROM series x WHERE {IS_EXAMINED} AND {REFUSED}"
        ),
        "segmentations (id, volume_id, segments, sop_instance_uid, series_instance_uid, path, "
        "sha256)": (
            f"SELECT x.id, x.id, '[\"foreground\"]', '{own}1' || x.id, '{own}2' || x.id, "
            f"'results/' || x.id || '.dcm', {sha} FROM volumes x"
        ),
        "deliveries (id, segmentation_id, destination, state, attempts, last_error, created_at, "
        "updated_at)": (
            "SELECT x.id, x.id, 'pacs', CASE WHEN x.id % 500 = 7 THEN 'refused' "
            "WHEN x.id % 1000 = 9 THEN 'pending' ELSE 'delivered' END, 1, "
            "CASE WHEN x.id % 500 = 7 OR x.id % 1000 = 9 THEN 'no answer' ELSE '' END, "
            f"{examined}, {examined} FROM segmentations x"
        ),
        "human_decisions (id, series_id, kind, account, note, at, revision_digest, "
        "examination_id)": (
            f"SELECT x.id, x.id, 'defaced', 'anna', 'nothing is left', {examined}, {sha}, x.id "
            f"FROM series x WHERE {IS_EXAMINED} AND {DECIDED}"
        ),
        "expected_counts (study_instance_uid, series_instance_uid, source, speaker, "
        "instance_count, at)": (
            "SELECT x.study_instance_uid, x.series_instance_uid, 'C-FIND', 'PACS', "
            f"{count}, x.first_received_at FROM series x WHERE x.id % 3 <> 1"
        ),
        "announced_instances (study_instance_uid, series_instance_uid, sop_instance_uid)": (
            "SELECT x.study_instance_uid, x.series_instance_uid, x.series_instance_uid || '.11' "
            "FROM series x WHERE x.id % 100 = 1"
        ),
        "receipts (number, study_instance_uid, at, project, outcome, key_id, sha256, document)": (
            f"SELECT x.id, {STUDY.format(i='(x.id * 3)')}, {at('x.id * 1080 + 3600')}, 'default', "
            f"'release', 'k', {sha}, :evidence FROM {numbers(':studies / 5')}"
        ),
        "exports (id, at, project, destination, account)": (
            f"SELECT x.id, {at('x.id * 100000')}, 'default', 'research', 'anna' "
            f"FROM {numbers('200')}"
        ),
        "exported_studies (id, export_id, study_instance_uid, receipt_number, state, "
        "instance_count, started_at, left_at)": (
            "SELECT x.number, x.number % 200 + 1, x.study_instance_uid, x.number, 'left', 30, "
            "x.at, x.at FROM receipts x"
        ),
        "audit_events (id, at, event, subject, detail, sha256)": (
            f"SELECT x.id, {at('x.id * 120')}, CASE WHEN x.id % 10 = 0 THEN 'receipt issued' "
            f"WHEN x.id % 10 < 3 THEN 'human decision' ELSE 'association rejected' END, {uid}, "
            f"'{{}}', {sha} FROM {numbers(':series')}"
        ),
        "quarantine (id, at, name, reason, sentence, size_bytes, sop_instance_uid, "
        "series_instance_uid, study_instance_uid)": (
            f"SELECT x.id, {at('x.id * 60000')}, 'unreadable/' || x.id, 'unreadable', 'cut off', "
            f"9, '1.9.' || x.id, '', {STUDY.format(i='(x.id * 150)')} FROM {numbers('2000')}"
        ),
        "pulls (id, source, study_instance_uid, state, attempts, created_at, updated_at)": (
            "SELECT x.id, 'archive', "
            f"{STUDY.format(i='(x.id * 60)')}, CASE WHEN x.id % 100 = 0 THEN 'failed' ELSE "
            f"'done' END, 1, {at('x.id * 100')}, {at('x.id * 100')} FROM {numbers('5000')}"
        ),
    }


def _evidence() -> str:
    ml = {SegmentKind.FOREGROUND: 4000.0, SegmentKind.ANONYMISED_AREA: 320.5, SegmentKind.FACE: 1.0}
    evidence = Evidence(
        volumes_ml=ml,
        largest_component_ml=ml,
        exposed_face_ml=0.0,
        models=tuple(ModelIdentity(kind, f"{kind}-starter", "1", "ab" * 32) for kind in ml),
        claims=HeaderClaims(deidentification_codes=("113102/DCM",)),
        field_of_view_mm=(180.0, 240.0, 240.0),
        spacing_mm=(1.0, 0.5, 0.5),
        matrix=(180, 480, 480),
    )
    values: Any = EVIDENCE.dump_python(evidence, mode="json")
    return json.dumps(values)
