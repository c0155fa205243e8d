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


def only_one_current(table: str) -> sa.Index:
    """At most one current row per series, kept by the database itself."""
    return sa.Index(
        f"uq_{table}_current_series",
        "series_id",
        unique=True,
        sqlite_where=sa.text("is_current"),
        postgresql_where=sa.text("is_current"),
    )
