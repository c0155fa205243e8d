"""How long the gate takes for a list of studies, in a database as large as a site's.

    python bench/gate_list.py sqlite:////tmp/large.sqlite --series 1000000 --studies 10000

Fills an empty database (ten series a study, all of them examined, two instances each), decides a
list of studies spread over all of it, and says how long it took, and how long this process was at
work, which hardly depends on what else runs. A filled database is used again.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import sqlalchemy as sa

from dicomnode.config import GateSettings
from dicomnode.domain import Evidence, HeaderClaims, ModelIdentity, SegmentKind
from dicomnode.gate.policy import Policy
from dicomnode.gate.studies import decide_studies
from dicomnode.tracking.database import Database
from dicomnode.tracking.examinations import EVIDENCE

AT = "2026-03-01 12:00:00"
EXAMINER = "ab" * 32
SERIES_A_STUDY, INSTANCES_A_SERIES = 10, 2
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
STUDY = f"'1.2.826.0.1.' || ((n.i + {SERIES_A_STUDY - 1}) / {SERIES_A_STUDY})"
JUDGEMENT = "'DEFACED', 'area-was-anonymised', 2, :reasons, '{}'"
ROWS = {
    "studies": f"SELECT '1.2.826.0.1.' || n.i, '{AT}' FROM n",
    "series (id, study_instance_uid, series_instance_uid, modality, first_received_at, "
    "last_received_at, instance_count, revised_count)": (
        f"SELECT n.i, {STUDY}, '1.2.826.0.2.' || n.i, 'MR', '{AT}', '{AT}', "
        f"{INSTANCES_A_SERIES}, {INSTANCES_A_SERIES} FROM n"
    ),
    "instances (id, series_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, name, "
    "size_bytes, file_sha256, pixel_sha256, received_at, association_id, first_revision)": (
        f"SELECT n.i, (n.i + {INSTANCES_A_SERIES - 1}) / {INSTANCES_A_SERIES}, "
        "'1.2.826.0.3.' || n.i, '1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.1.2.1', "
        f"'ab/' || n.i || '.dcm', 1000, '{'cd' * 32}', '{'cd' * 32}', '{AT}', '', 1 FROM n"
    ),
    "revisions (id, series_id, number, digest, instance_count, created_at, is_current)": (
        f"SELECT n.i, n.i, 1, '{'ef' * 32}', {INSTANCES_A_SERIES}, '{AT}', true FROM n"
    ),
    "examinations (id, series_id, revision_id, created_at, software_version, examiner_digest, "
    "is_current)": f"SELECT n.i, n.i, n.i, '{AT}', '0.1.0', '{EXAMINER}', true FROM n",
    "verdicts (id, series_id, examination_id, kind, rule_id, rule_version, reasons, numbers, "
    "created_at, is_current)": f"SELECT n.i, n.i, n.i, {JUDGEMENT}, '{AT}', true FROM n",
    "volumes (id, examination_id, number, label, images, evidence, kind, rule_id, rule_version, "
    "reasons, numbers)": f"SELECT n.i, n.i, 1, '', 100, :evidence, {JUDGEMENT} FROM n",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--studies", type=int, default=10_000)
    given = parser.parse_args()
    database = Database(given.database)
    database.migrate()
    fill(database, given.series)
    every = given.series // SERIES_A_STUDY
    step = max(1, every // given.studies)
    uids = [f"1.2.826.0.1.{number}" for number in range(1, every + 1, step)][: given.studies]
    policy = Policy("default", GateSettings())
    for run in ("first", "second"):
        began, busy, released = time.perf_counter(), time.process_time(), 0
        for decision in decide_studies(database, uids, policy, lambda subjects: EXAMINER):
            released += decision.outcome == "release"
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        print(f"{run}: {len(uids)} studies, {released} released, {seconds:.1f} s ({cpu:.1f} s CPU)")


def fill(database: Database, series: int) -> None:
    with database.begin() as connection:
        if connection.scalar(sa.text("SELECT count(*) FROM series")):
            return
        for into, select in ROWS.items():
            statement = sa.text(f"INSERT INTO {into} {NUMBERS} {select}")
            values = {**_values(), "count": _count(into.split()[0], series)}
            connection.execute(statement, {key: values[key] for key in statement.compile().params})
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text("ANALYZE"))


def _count(table: str, series: int) -> int:
    return {
        "studies": series // SERIES_A_STUDY,
        "instances": series * INSTANCES_A_SERIES,
    }.get(table, series)


def _values() -> dict[str, Any]:
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
    return {
        "evidence": json.dumps(EVIDENCE.dump_python(evidence, mode="json")),
        "reasons": json.dumps(["320 ml of anonymised area in one piece"]),
    }


if __name__ == "__main__":
    main()
