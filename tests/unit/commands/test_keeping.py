"""`db backup`, `db restore` and `forget`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dicomnode import config
from dicomnode.cli import app
from dicomnode.tracking import audit
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import verdicts_of_study
from tests import small_node


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[node]\ndata_folder = "{tmp_path / "data"}"\n', encoding="utf-8")
    return path


def run(file: Path, *arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, [*arguments, "-c", str(file)], input=answer)


def test_a_study_is_forgotten_and_a_backup_brings_its_rows_back(file: Path, tmp_path: Path) -> None:
    settings, backup = config.load(file), tmp_path / "backup"
    database = Database(settings.database_url)
    database.migrate()
    small_node.put_series(settings, database, "one")
    with database.read() as connection:
        study = verdicts_of_study(connection, small_node.result_uid("study", "one"))[0]
    database.close()
    uid = study.study_instance_uid
    done = run(file, "db", "backup", str(backup))
    assert (done.exit_code, backup.is_file()) == (0, True), done.output
    assert run(file, "forget", uid, answer="n\n").exit_code == 1
    done = run(file, "forget", uid, "--by", "anna", "--why", "asked for", "--yes")
    assert "1 series, 3 instances" in done.output, done.output
    done = run(file, "db", "restore", str(backup), "--replace", "--by", "anna")
    assert done.exit_code == 0, done.output
    with database.read() as connection:
        assert len(verdicts_of_study(connection, uid)) == 1
        (event,) = audit.newest(connection, event="database restored")
    assert event.detail == {"account": "anna"}
    database.close()
