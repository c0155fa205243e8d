"""`accounts` and `tokens` as an administrator runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from dicomnode.config import load
from dicomnode.domain import Role
from dicomnode.tracking import api_tokens, audit
from dicomnode.tracking.authentication import authenticate
from dicomnode.tracking.database import Database
from tests.command_line import dicomnode
from tests.e2e.site import wait_until

PASSWORD = "a long pass phrase"


@pytest.fixture
def config(tmp_path: Path) -> tuple[str, str]:
    file = tmp_path / "config.toml"
    file.write_text(f'[node]\ndata_folder = "{tmp_path / "data"}"\n')
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    Database(load(file).database_url).migrate()
    return ("--config", str(file))


def database_of(config: tuple[str, str]) -> Database:
    return Database(load(Path(config[1])).database_url)


def logs_in(config: tuple[str, str], password: str) -> bool:
    now = datetime.now(UTC)
    found = authenticate(database_of(config), "anna", password, now, lambda c, account: account)
    return found is not None


def test_an_account_is_made_changed_and_disabled(config: tuple[str, str], tmp_path: Path) -> None:
    file = ("--password-file", str(tmp_path / "password"))
    made = dicomnode("accounts", "add", "Anna", "--role", "steward", *file, *config)
    assert (made.returncode, "anna  steward" in made.stdout) == (0, True), made.stderr
    assert PASSWORD not in made.stdout + made.stderr
    assert logs_in(config, PASSWORD)

    assert dicomnode("accounts", "role", "anna", "viewer", *config).returncode == 0
    (tmp_path / "password").write_text("another pass phrase")
    assert dicomnode("accounts", "password", "anna", *file, *config).returncode == 0
    assert not logs_in(config, PASSWORD)
    assert logs_in(config, "another pass phrase")

    assert "DISABLED" in dicomnode("accounts", "disable", "anna", *config).stdout
    assert not logs_in(config, "another pass phrase")
    (listed,) = json.loads(dicomnode("accounts", "list", "--json", *config).stdout)
    assert (listed["name"], listed["role"], listed["is_enabled"]) == ("anna", "viewer", False)
    assert "hash" not in str(listed)
    assert dicomnode("accounts", "enable", "anna", *config).returncode == 0
    assert logs_in(config, "another pass phrase")
    with database_of(config).read() as c:
        events = [one.event for one in audit.newest(c, subject="anna")]
    assert {"account created", "role changed", "password changed", "account disabled"} <= set(
        events
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("add", "a b", "--role", "viewer", "--no-password"), "is no account"),
        (("add", "anna", "--role", "viewer"), "give --password-file"),
        (("add", "anna", "--role", "king", "--no-password"), "king"),
        (("role", "nobody", "viewer"), "there is no such account"),
    ],
)
def test_what_can_not_be_is_refused_in_plain_words(
    config: tuple[str, str], arguments: tuple[str, ...], sentence: str
) -> None:
    done = dicomnode("accounts", *arguments, *config)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_of_another_version_is_not_migrated_beside_roles_that_run(
    config: tuple[str, str],
) -> None:
    with database_of(config).engine.begin() as c:
        c.execute(sa.text("UPDATE alembic_version SET version_num = '0009'"))
    done = dicomnode("accounts", "add", "anna", "--role", "viewer", "--no-password", *config)
    assert (done.returncode, "dicomnode db migrate" in done.stderr) == (1, True)


def test_a_token_is_shown_once_and_revoked(config: tuple[str, str]) -> None:
    dicomnode("accounts", "add", "robot", "--role", "reviewer", "--no-password", *config)
    more = dicomnode("tokens", "add", "robot", "--name", "nightly", "--role", "steward", *config)
    assert (more.returncode, "can't be steward" in more.stderr) == (1, True)
    made = dicomnode("tokens", "add", "robot", "--name", "nightly", "--days", "3", *config)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    database = database_of(config)
    with database.read() as c:
        holder = api_tokens.find(c, token, datetime.now(UTC))
    assert holder is not None
    assert holder.role is Role.VIEWER
    listed = dicomnode("tokens", "list", *config)
    assert "for robot as viewer" in listed.stdout
    assert token not in listed.stdout
    assert "REVOKED" in dicomnode("tokens", "revoke", "1", *config).stdout
    with database.read() as c:
        assert api_tokens.find(c, token, datetime.now(UTC)) is None
    assert dicomnode("tokens", "revoke", "1", *config).returncode == 1


def test_a_program_asks_the_gate_of_a_new_node(tmp_path: Path, free_port: int) -> None:
    """As docs/http.md says: configure, make an account, with it the database, a token, and ask."""
    file = tmp_path / "config.toml"
    file.write_text(
        f'[node]\ndata_folder = "{tmp_path / "data"}"\n[web]\ndesk = true\nport = {free_port}\n'
    )
    config, url = ("--config", str(file)), f"http://127.0.0.1:{free_port}"
    robot = ("accounts", "add", "robot", "--role", "viewer", "--no-password")
    added = dicomnode(*robot, *config)
    assert added.returncode == 0, added.stderr
    token = dicomnode("tokens", "add", "robot", "--name", "script", *config).stdout.strip()
    command = (sys.executable, "-m", "dicomnode.cli", "web", *config)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as web:
        try:
            wait_until("the role answers", lambda: answers(f"{url}/health"), 60)
            answer = httpx.get(
                f"{url}/api/v1/projects/default/decisions/1.2.3",
                headers={"Authorization": f"Bearer {token}"},
            )
        finally:
            web.terminate()
            _, log = web.communicate(timeout=40)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "unknown_study")
    assert web.returncode == 0
    assert "Traceback" not in log
    assert token not in log


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False
