"""`gate list` and `gate folder`, as a user runs them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicomnode.cli import app
from dicomnode.config import load
from dicomnode.domain import VerdictKind
from dicomnode.errors import GateError, RetrievalError
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking import examinations, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import at, examined, instance

GOOD, BAD, NEVER = "1.2.1", "1.2.2", "1.2.3"


class Node:
    """One study that may leave and one that may not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.config.write_text(f'[node]\ndata_folder = "{folder}/data"\n')
        settings = load(self.config)
        database, spool = Database(settings.database_url), Spool(settings.spool_folder)
        database.migrate()
        wanted = installed_examiner(settings).wanted_digest
        with database.begin() as connection:
            for key, study in enumerate((GOOD, BAD), 1):
                instances.add(connection, [instance(1, series=f"{study}.1", study=study)])
                revision = series.add_revision(connection, key, spool, at(30))
                assert revision is not None
                kind = VerdictKind.DEFACED if study == GOOD else VerdictKind.FACE_VISIBLE
                found = examined(revision, kind)
                volumes = tuple(replace(one, segmentation=None) for one in found.volumes)
                subjects = [one.evidence.subject for one in volumes]
                found = replace(found, volumes=volumes, examiner_digest=wanted(subjects))
                examinations.record(connection, revision.id, found)
        database.close()

    def run(self, *words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--config", str(self.config)])

    def listed(self, *uids: str) -> Any:
        file = self.folder / "studies.txt"
        file.write_text("\n".join(uids))
        return self.run("gate", "list", str(file), "--json")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(tmp_path_factory.mktemp("node"))


def test_a_list_has_a_line_for_each_study_and_is_released_only_whole(node: Node) -> None:
    mixed = node.listed(BAD, f"{GOOD}  # the good one", NEVER, BAD)
    decisions = [json.loads(line) for line in mixed.output.splitlines()]
    assert [one["study_instance_uid"] for one in decisions] == [BAD, GOOD, NEVER]
    assert [one["outcome"] for one in decisions] == ["hold", "release", "unknown_study"]
    assert mixed.exit_code == 3
    assert node.listed(GOOD).exit_code == 0
    assert node.listed(GOOD, NEVER).exit_code == 3


@pytest.mark.parametrize("uids", [(), ("# nothing",), (GOOD, "PATIENT^NAME")])
def test_a_list_that_is_none_releases_nothing(node: Node, uids: tuple[str, ...]) -> None:
    failed = node.listed(*uids)
    assert isinstance(failed.exception, RetrievalError)
    assert "no Study Instance UID" in str(failed.exception)
    assert "PATIENT" not in str(failed.exception)


def test_an_unknown_project_holds_every_study(node: Node) -> None:
    (node.folder / "one.txt").write_text(GOOD)
    shown = node.run("gate", "list", str(node.folder / "one.txt"), "--project", "nobody")
    assert shown.exit_code == 3
    assert "there is no project 'nobody'" in shown.output


def test_a_folder_that_holds_names_its_files(node: Node) -> None:
    export = node.folder / "export"
    export.mkdir()
    (export / "face\x1b.png").write_bytes(b"")
    held = node.run("gate", "folder", str(export))
    assert held.exit_code == 3
    assert "face .png: it is no DICOM file" in held.output
    told = json.loads(node.run("gate", "folder", str(export), "--json").output)
    assert (told["outcome"], told["holding"][0]["state"]) == ("hold", "not_dicom")
    missing = node.run("gate", "folder", str(node.folder / "absent"))
    assert isinstance(missing.exception, GateError)
