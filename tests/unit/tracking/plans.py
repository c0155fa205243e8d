"""How a database would find what is asked for, and whether it would walk over a whole table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from dicomnode.tracking.database import Database
from dicomnode.tracking.gate_schema import METADATA

Ask = Callable[[sa.Connection], object]
_PARTIAL = {
    index.name
    for table in METADATA.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
# As many rows as there are machines that send, or are sent to.
_SMALL = {"senders", "destinations"}
# The newest few rows of a table, without any condition: the key's own order, and a bound. What is
# joined to them by a key takes none away.
_JOINED = r"(?:\s+JOIN \w+ ON [\w.]+ = [\w.]+)*"
_NEWEST = re.compile(rf"FROM (\w+){_JOINED}\s+ORDER BY \1\.\w+ DESC\s+LIMIT", re.DOTALL)
_ALIAS = re.compile(r"(?:FROM|JOIN|,)\s+(\w+) AS (\w+)")


@dataclass(frozen=True)
class Asked:
    statement: str
    parameters: Any


def statements(database: Database, ask: Ask) -> list[Asked]:
    """What `ask` sends, in a transaction that is undone; of many sets of parameters the first."""
    asked: list[Asked] = []

    def note(
        _c: object, _cursor: object, statement: str, given: Any, _x: object, many: bool
    ) -> None:
        asked.append(Asked(statement, given[0] if many and given else given))

    with database.engine.connect() as connection:
        sa.event.listen(connection, "before_cursor_execute", note)
        ask(connection)
        connection.rollback()
    return [one for one in asked if not one.statement.startswith(("BEGIN", "EXPLAIN", "PRAGMA"))]


def query_plans(database: Database, ask: Ask) -> list[str]:
    """Of each statement that `ask` sends SQLite's plan, a step a line."""
    asked = statements(database, ask)
    with database.read() as connection:
        return ["\n".join(_sqlite_steps(connection, one)) for one in asked]


def walks(database: Database, ask: Ask) -> list[str]:
    """Each walk over a whole table that `ask` would bring about, with its statement.

    A walk over a partial index is none: it holds what is asked for and little else. PostgreSQL
    reads and joins small tables whole however many indexes they have, so that is made dear; an
    index without a condition is a walk there too.
    """
    asked = statements(database, ask)
    assert asked, "nothing was asked"
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            for whole in ("seqscan", "hashjoin", "mergejoin"):
                connection.execute(sa.text(f"SET enable_{whole} = off"))
        find = _sqlite_walks if database.is_sqlite else _postgresql_walks
        return [f"{walk}\n{one.statement}" for one in asked for walk in find(connection, one)]


def _sqlite_walks(c: sa.Connection, asked: Asked) -> Iterator[str]:
    names = {alias: table for table, alias in _ALIAS.findall(asked.statement)}
    newest = _NEWEST.search(asked.statement)
    for step in _sqlite_steps(c, asked):
        found = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
        table = names.get(found[1], found[1]) if found else ""
        if found is None or table not in METADATA.tables or table in _SMALL:
            continue
        if found[2] not in _PARTIAL and not (newest and newest[1] == found[1]):
            yield step


def _sqlite_steps(c: sa.Connection, asked: Asked) -> list[str]:
    plan = c.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked.statement}", asked.parameters)
    return [row.detail for row in plan]


def _postgresql_walks(c: sa.Connection, asked: Asked) -> Iterator[str]:
    plan = c.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {asked.statement}", asked.parameters).scalar()
    newest = _NEWEST.search(asked.statement)
    for node in _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]):
        table, kind = node.get("Relation Name", ""), node["Node Type"]
        is_index = kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
        whole = kind == "Seq Scan" or (is_index and "Index Cond" not in node)
        whole = whole and table not in _SMALL
        is_newest = newest and newest[1] == table and kind != "Seq Scan"
        if whole and node.get("Index Name") not in _PARTIAL and not is_newest:
            yield f"{kind} {table} {node.get('Index Name', '')} {node.get('Filter', '')}"


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
