"""Kinds of columns that the tables share, and the rule that a series has one current row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware time in UTC; SQLite keeps no zone, so it is taken off and put on here."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times are aware and in UTC")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def uid(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), nullable=False, **options)


def time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UtcDateTime, nullable=nullable)


def text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, default="", server_default="")


def title(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), nullable=False, default="", server_default="")


def key() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True)


def counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, default=0, server_default="0")


def seconds(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False, default=0.0, server_default="0")


def current() -> sa.Column[bool]:
    return sa.Column("is_current", sa.Boolean, nullable=False)


def judgement() -> tuple[sa.Column[Any], ...]:
    """The columns of a `Verdict`."""
    return (
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("rule_id", sa.String(64), nullable=False),
        sa.Column("rule_version", sa.Integer, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("numbers", sa.JSON, nullable=False),
    )


def partial(name: str, condition: str, *columns: str, unique: bool = False) -> sa.Index:
    """An index of the rows for which the condition is true.

    A query has to say the condition in these words, or one of the databases won't use it.
    """
    where = sa.text(condition)
    return sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def prefixes(name: str, column: str) -> sa.Index:
    """An index that finds a beginning too, whatever the language of a PostgreSQL database."""
    return sa.Index(name, column, postgresql_ops={column: "varchar_pattern_ops"})


def only_one_current(table: str) -> sa.Index:
    """At most one current row per series, kept by the database itself."""
    return partial(f"uq_{table}_current_series", "is_current", "series_id", unique=True)
