"""`decide` and what `status` and `gate` then say, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicomnode.cli import app
from dicomnode.config import load
from dicomnode.domain import VerdictKind
from dicomnode.errors import DecisionError
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking import examinations, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import SERIES, STUDY, at, examined, instance

RULES = """
[projects.cohort]
pass_verdicts = ["DEFACED", "NO_FACE_IN_VIEW", "UNDETERMINED"]
review_verdicts = ["UNDETERMINED"]
persons_needed = 2
"""
Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The commands at a node that holds one undetermined series."""
    config = tmp_path / "config.toml"
    config.write_text(f'[node]\ndata_folder = "{tmp_path}/data"\n{RULES}')
    settings = load(config)
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    database.migrate()
    spool.prepare()
    wanted = installed_examiner(settings).wanted_digest
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        found = examined(revision, VerdictKind.UNDETERMINED)
        subjects = [volume.evidence.subject for volume in found.volumes]
        found = replace(found, examiner_digest=wanted(subjects))
        examinations.record(connection, revision.id, found)
    database.close()

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--config", str(config)])

    return invoke


def gate(run: Run) -> Any:
    return run("gate", "decide", STUDY, "--project", "cohort", "--json")


def test_two_persons_release_what_needs_them_and_one_takes_it_back(run: Run) -> None:
    assert gate(run).exit_code == 3
    for account, code in (("anna", 3), ("anna", 3), ("bob", 0)):
        made = run("decide", SERIES, "defaced", "--by", account, "--note", "I looked")
        assert made.exit_code == 0, made.output
        assert gate(run).exit_code == code
    assert run("decide", SERIES, "--revoke", "--by", "bob").exit_code == 0
    assert gate(run).exit_code == 3
    assert run("gate", "decide", STUDY).exit_code == 3  # the project default never lets it pass


def test_the_list_and_the_status_show_what_was_said(run: Run) -> None:
    run("decide", SERIES, "not-applicable", "--by", "Anna", "--note", "a knee")
    listed = run("decide", SERIES, "--list")
    assert "anna: not applicable\n  a knee\n" in listed.output
    assert "examination 1 counts now" in listed.output
    (one,) = json.loads(run("decide", SERIES, "--list", "--json").output)
    assert (one["account"], one["kind"], one["examination_id"]) == ("anna", "not_applicable", 1)
    (study,) = json.loads(run("status", STUDY, "--json").output)
    (said,) = study["series"][0]["decisions"]
    assert (said["decision"], said["is_stale"]) == ("not_applicable", False)
    assert "knee" in run("status", STUDY).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say one of"),
        (("defaced", "--revoke", "--by", "anna"), "say one of"),
        (("defaced", "--by", "anna"), "needs a note"),
        (("defaced", "--note", "why"), "is no account"),
        (("defaced", "--by", "anna", "--note", "why", "--examination", "9"), "look again"),
        (("--revoke", "--by", "anna"), "no decision of anna"),
    ],
)
def test_what_cannot_be_decided_is_said(run: Run, words: tuple[str, ...], message: str) -> None:
    failed = run("decide", SERIES, *words)
    assert isinstance(failed.exception, DecisionError)
    assert message in str(failed.exception)
