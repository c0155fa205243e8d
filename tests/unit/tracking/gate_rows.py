"""Rows of a gate that has been used for long, so that a planner knows what is dear."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from dicomnode.domain import Role
from dicomnode.tracking import accounts
from dicomnode.tracking.database import Database
from dicomnode.tracking.exports import ExportState
from dicomnode.tracking.gate_schema import accounts as account_rows
from dicomnode.tracking.gate_schema import (
    api_tokens,
    exported_instances,
    exported_studies,
    exports,
    held_objects,
    logins,
)
from dicomnode.tracking.held import HeldFile, HeldState
from dicomnode.tracking.schema import series_copies, study_copies
from tests.unit.tracking.rows import at

_EXPORTS, _STUDIES, _PERSONS = 2000, 4000, 500
WAITING = HeldFile("heads", "1.2", "1.2.1", "1.2.1.1", "1.2", "1.2", "ab/1", "ab", 9, "DESK", "")


def fill_gate(database: Database) -> None:
    """Hundreds of destinations and persons, thousands of exported studies and held objects."""
    with database.begin() as c:
        accounts.create(c, "anna", Role.STEWARD)
        _fill_people(c)
        _fill_ledger(c)
        name_of = [f"ab/{n}" for n in range(_STUDIES)]
        held = [_held(n, name) for n, name in enumerate(name_of)]
        c.execute(held_objects.insert(), held)
        _fill_copies(c)
    with database.engine.connect() as connection:
        settled = connection.execution_options(isolation_level="AUTOCOMMIT")
        settled.execute(sa.text("ANALYZE"))


def _fill_people(c: sa.Connection) -> None:
    persons = [
        {"name": f"p{n}", "role": "viewer", "is_enabled": True, "created_at": at(n)}
        for n in range(_PERSONS)
    ]
    c.execute(account_rows.insert(), persons)
    ids = c.scalars(sa.select(account_rows.c.id)).all()
    login = {"created_at": at(0), "last_seen_at": at(0)}
    token = {"name": "script", "role": "viewer", "created_at": at(0)}
    c.execute(api_tokens.insert(), [token | {"sha256": f"{n:064x}", "account_id": n} for n in ids])
    c.execute(logins.insert(), [login | {"sha256": f"{n:064x}", "account_id": n} for n in ids])


def _fill_ledger(c: sa.Connection) -> None:
    runs = [
        {"at": at(n), "project": f"p{n}", "destination": f"/mnt/{n}", "account": "anna"}
        for n in range(_EXPORTS)
    ]
    c.execute(exports.insert(), runs)
    states = [ExportState.LEAVING, *[ExportState.LEFT] * 999]
    studies = [
        {
            "export_id": 1 + n % _EXPORTS,
            "study_instance_uid": f"1.3.{n}",
            "receipt_number": 1,
            "state": states[n % len(states)].value,
            "instance_count": 2,
            "started_at": at(n),
        }
        for n in range(_STUDIES)
    ]
    c.execute(exported_studies.insert(), studies)
    left = [
        {"exported_study_id": 1 + n // 2, "sop_instance_uid": f"1.3.{n}.1", "at": at(n)}
        for n in range(2 * _STUDIES)
    ]
    c.execute(exported_instances.insert(), left)


def _fill_copies(c: sa.Connection) -> None:
    studies = [
        {
            "study_instance_uid": f"1.3.{n}",
            "copy_study_instance_uid": f"2.25.{n}",
            "state": "asked" if n % 500 == 0 else "done",
            "asked_by": "anna",
            "plan": [],
            "left_out": [],
            "created_at": at(n),
            "updated_at": at(n),
        }
        for n in range(_STUDIES)
    ]
    c.execute(study_copies.insert(), studies)
    series = [
        {
            "study_copy_id": 1 + n // 2,
            "source_series_instance_uid": f"1.3.{n // 2}.{n % 2}",
            "way": "unchanged",
            "series_instance_uid": f"2.25.{n // 2}.{n % 2}",
            "images": 100,
            "objections": [],
            "pictures": [],
        }
        for n in range(2 * _STUDIES)
    ]
    c.execute(series_copies.insert(), series)


def _held(number: int, name: str) -> dict[str, object]:
    state = HeldState.FORWARDED if number % 100 else HeldState.WAITING
    own = {"study_instance_uid": f"1.3.{number}", "name": name, "state": state.value}
    return asdict(WAITING) | own | {"at": at(number), "updated_at": at(number), "reason": "why"}
