"""Fills a database with the rows of `scale.sql`: a few million, by INSERT ... SELECT."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dicomnode.domain import Evidence, HeaderClaims, ModelIdentity, SegmentKind, Subject
from dicomnode.tracking import outdated
from dicomnode.tracking.database import Database
from dicomnode.tracking.examinations import EVIDENCE
from dicomnode.tracking.gate_schema import METADATA
from dicomnode.tracking.study_summaries import tell_all_anew

EXAMINER = "ab" * 32
SERIES_A_STUDY = 3
SUBJECT = Subject("MR", "HEAD", (1.0, 0.5, 0.5))
_SQL = Path(__file__).with_name("scale.sql")
_PART = 50_000  # series whose instances are inserted at a time
_SHARE = "(x.id * 2654435761 / 4096 % 1000)"
_WORDS = {
    "share": _SHARE,
    "parent": "((x.id + 2) / 3)",
    "sha": f"'{'cd' * 32}'",
    "kind": (
        f"CASE WHEN {_SHARE} < 173 THEN 'FACE_VISIBLE' WHEN {_SHARE} < 260 THEN 'UNDETERMINED' "
        f"WHEN {_SHARE} < 331 THEN 'NO_FACE_IN_VIEW' ELSE 'DEFACED' END"
    ),
    # Six of ten doubts.
    "decided": f"({_SHARE} >= 173 AND {_SHARE} < 260 AND x.id % 10 < 6)",
}


def study_uid(number: int) -> str:
    """Of the study of this number, from 1; its series end in .1, .2 and .3."""
    return f"1.3.12.2.1107.5.{number % 17}.30000{100000000 + number}"


def fill(database: Database, series: int, say: Callable[[str], object] = print) -> None:
    """Table by table, each in one transaction or several; what is there already is left."""
    indexes = [index for table in METADATA.tables.values() for index in table.indexes]
    with _unchecked(database) as connection:
        if _is_told(connection):
            return
        for index in indexes:
            index.drop(connection, checkfirst=True)
        connection.commit()
        for table, statement in _statements(database.is_sqlite):
            say(f"  {table} ...")
            _insert(connection, table, statement, series)
        say("  indexes and summaries ...")
        for index in indexes:
            index.create(connection, checkfirst=True)
            connection.commit()
        tell_all_anew(connection)
        _let_numbers_go_on(connection)
        connection.commit()
    with database.engine.connect() as connection:
        settled = connection.execution_options(isolation_level="AUTOCOMMIT")
        settled.execute(sa.text("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE"))


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


def _is_told(c: sa.Connection) -> bool:
    untold = c.scalar(sa.text("SELECT count(*) FROM studies WHERE last_received_at IS NULL"))
    return bool(c.scalar(sa.text("SELECT 1 FROM studies LIMIT 1"))) and untold == 0


def _statements(is_sqlite: bool) -> Iterator[tuple[str, str]]:
    """Of each table its INSERT, in the words of the database."""
    lines = [line for line in _SQL.read_text().splitlines() if not line.startswith("--")]
    for statement in filter(str.strip, "\n".join(lines).split(";\n")):
        columns, select = statement.strip().rstrip(";").split("\nSELECT", 1)
        said = _MACRO.sub(lambda m: _MACROS[m[1]](m[2], is_sqlite), f"\nSELECT{select}")
        yield columns.split()[2], columns + _WORD.sub(lambda m: _WORDS[m[1]], said)


def _numbers(count: str, is_sqlite: bool) -> str:
    if is_sqlite:
        rows = f"SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {count}"
        return f"(WITH RECURSIVE n(id) AS ({rows}) SELECT id FROM n) x"
    return f"generate_series(1, CAST({count} AS integer)) x(id)"


def _at(seconds: str, is_sqlite: bool) -> str:
    if is_sqlite:
        return f"strftime('%Y-%m-%d %H:%M:%S.000000', '2020-01-01', ({seconds}) || ' seconds')"
    return f"(timestamptz '2020-01-01 00:00:00+00' + ({seconds}) * interval '1 second')"


def _json(value: str, is_sqlite: bool) -> str:
    return value if is_sqlite else f"CAST({value} AS json)"


def _study(number: str, is_sqlite: bool) -> str:
    """As `study_uid`."""
    return f"'1.3.12.2.1107.5.' || ({number} % 17) || '.30000' || (100000000 + {number})"


_MACROS = {"numbers": _numbers, "at": _at, "json": _json, "study": _study}
_MACRO = re.compile(r"(\w+)\{(.*?)\}")
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b")


def _insert(c: sa.Connection, table: str, statement: str, series: int) -> None:
    """Instances in parts, behind those that are there."""
    is_empty = c.scalar(sa.text(f"SELECT 1 FROM {table} LIMIT 1")) is None
    if ":first" in statement:
        done = c.scalar(sa.text("SELECT max(series_id) FROM instances")) or 0
        for first in range(done + 1, series + 1, _PART):
            _execute(c, statement, series, first=first, last=first + _PART - 1)
            c.commit()
    elif is_empty:
        _execute(c, statement, series)
    c.commit()


def _execute(c: sa.Connection, statement: str, series: int, **more: int) -> None:
    text = sa.text(statement)
    values = {
        **more,
        "series": series,
        "studies": series // SERIES_A_STUDY,
        "examiner": EXAMINER,
        "nothing": "{}",
        "reasons": json.dumps(["320 ml of anonymised area in one piece"]),
        "evidence": _evidence(),
        "subjects": outdated.encode([SUBJECT]),
    }
    c.execute(text, {key: values[key] for key in text.compile().params})


def _let_numbers_go_on(c: sa.Connection) -> None:
    count = "(SELECT count(*) FROM audit_events)"
    c.execute(sa.text(f"UPDATE audit_head SET row_count = {count}"))
    for name in (table for table in METADATA.tables if c.dialect.name == "postgresql"):
        if isinstance(METADATA.tables[name].autoincrement_column, sa.Column):
            sequence = f"pg_get_serial_sequence('{name}', 'id')"
            c.execute(sa.text(f"SELECT setval({sequence}, (SELECT max(id) FROM {name}))"))


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
