"""How SQLite would find what is asked for."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from dicomnode.tracking.database import Database


def query_plans(database: Database, ask: Callable[[sa.Connection], object]) -> list[str]:
    """Of each statement that `ask` sends its plan, a step a line."""
    asked: list[tuple[str, tuple[object, ...]]] = []
    with database.read() as connection:
        sa.event.listen(
            connection, "before_cursor_execute", lambda *given: asked.append((given[2], given[3]))
        )
        ask(connection)
    with database.read() as connection:
        return [
            "\n".join(
                row.detail
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            )
            for statement, values in asked
        ]
