"""`audit list` and `audit verify` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.tracking import audit
from dicomnode.tracking.database import Database
from tests.command_line import dicomnode


@pytest.fixture
def database(tmp_path: Path) -> Database:
    (tmp_path / "config.toml").write_text(f'[node]\ndata_folder = "{tmp_path / "data"}"\n')
    opened = Database(f"sqlite:///{tmp_path}/data/tracking.sqlite")
    opened.migrate()
    with opened.begin() as connection:
        audit.append(connection, "refused", "PACS", {"why": "unknown \x1b[31mcaller"})
        audit.append(connection, "delivered", "1.2.3")
        audit.append(connection, "refused", "CT1")
    return opened


def test_events_are_listed_newest_first_and_by_name_and_subject(
    database: Database, tmp_path: Path
) -> None:
    config = ("--config", str(tmp_path / "config.toml"))
    shown = dicomnode("audit", "list", *config)
    assert shown.returncode == 0, shown.stderr
    assert [line for line in shown.stdout.splitlines() if not line.startswith(" ")] == [
        "3  refused",
        "2  delivered",
        "1  refused",
    ]
    assert "\x1b[31m" not in shown.stdout
    for options, numbers in (
        (("--event", "refused"), [3, 1]),
        (("--subject", "1.2.3"), [2]),
        (("--limit", "2"), [3, 2]),
        (("--event", "never"), []),
    ):
        shown = dicomnode("audit", "list", "--json", *options, *config)
        assert [event["number"] for event in json.loads(shown.stdout)] == numbers


def test_a_changed_row_costs_an_exit_code_and_is_named(database: Database, tmp_path: Path) -> None:
    config = ("--config", str(tmp_path / "config.toml"))
    whole = dicomnode("audit", "verify", *config)
    assert (whole.returncode, whole.stdout.startswith("whole: 3 rows")) == (0, True)
    with database.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_events_no_update"))
        connection.execute(sa.text("UPDATE audit_events SET subject = 'X' WHERE id = 2"))
    broken = dicomnode("audit", "verify", *config)
    assert (broken.returncode, broken.stdout.startswith("BROKEN  row 2")) == (1, True)
    found = json.loads(dicomnode("audit", "verify", "--json", *config).stdout)
    assert (found["first_wrong"], found["rows"]) == (2, 1)
