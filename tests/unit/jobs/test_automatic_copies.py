"""`deface = "automatic"`: studies that show a face are copied without anybody asking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicomnode.config import Settings
from dicomnode.config_policy import ProjectSettings
from dicomnode.domain import CopyState, Examination, Revision, VerdictKind
from dicomnode.jobs import automatic_copies
from dicomnode.jobs.automatic_copies import AutomaticCopies
from dicomnode.tracking import study_copies
from dicomnode.tracking.study_copies import StudyCopy
from tests import small_node
from tests.examined_site import *  # noqa: F403
from tests.examined_site import Site
from tests.unit.tracking.rows import examined


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic_copies, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def automatic(site: Site) -> Settings:
    gate = site.settings.gate.model_copy(update={"deface": "automatic"})
    return site.settings.model_copy(update={"gate": gate})


def face(revision: Revision) -> Examination:
    return examined(revision, VerdictKind.FACE_VISIBLE)


def copies(site: Site) -> list[StudyCopy]:
    with site.database.read() as c:
        return study_copies.listed(c, everything=True)


def test_what_shows_a_face_is_copied_once(site: Site, automatic: Settings) -> None:
    chore = AutomaticCopies(site.database)
    chore.look(automatic)
    site.series("defaced")
    study = site.series("face", face)
    for _ in range(3):
        chore.look(automatic)
    (copy,) = copies(site)
    assert (copy.study_instance_uid, copy.state) == (study, CopyState.ASKED)
    assert (copy.asked_by, copy.is_automatic) == ("project:default", True)


def test_nothing_is_copied_where_no_policy_asks_for_it(site: Site) -> None:
    site.series("face", face)
    AutomaticCopies(site.database).look(site.settings)
    assert copies(site) == []


def test_neither_another_worker_nor_other_settings_copy_it_again(
    site: Site, automatic: Settings
) -> None:
    site.series("face", face)
    AutomaticCopies(site.database).look(automatic)
    blurred = automatic.defacing.model_copy(update={"fill": "blur"})
    AutomaticCopies(site.database).look(automatic.model_copy(update={"defacing": blurred}))
    assert len(copies(site)) == 1


def test_a_study_is_copied_when_all_of_it_was_examined(site: Site, automatic: Settings) -> None:
    chore = AutomaticCopies(site.database)
    site.series("face", face)
    small_node.put_series(site.settings, site.database, "face", slices=1, first=9)  # a late one
    chore.look(automatic)
    assert copies(site) == []
    site.examine("face", lambda revision: replace(face(revision)))
    chore.look(automatic)
    assert len(copies(site)) == 1


def test_what_was_examined_long_ago_is_left_to_people(
    site: Site, automatic: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic_copies, "_LOOKS_BACK", 1)
    site.series("old", face)
    study = site.series("new", face)
    AutomaticCopies(site.database).look(automatic)
    assert [copy.study_instance_uid for copy in copies(site)] == [study]


def test_each_project_with_names_of_its_own_gets_its_copy_the_others_share_one(
    site: Site, automatic: Settings
) -> None:
    own = {"deface": "automatic", "deidentify": True, "deidentification": {"key_file": "k"}}
    projects = {"a": own, "b": {"deface": "automatic"}, "c": own, "d": {}}
    every = {name: ProjectSettings.model_validate(rules) for name, rules in projects.items()}
    site.series("face", face)
    chore = AutomaticCopies(site.database)
    for _ in range(2):
        chore.look(automatic.model_copy(update={"projects": every}))
    asked = sorted((copy.project, copy.asked_by) for copy in copies(site))
    assert asked == [("", "project:default"), ("a", "project:a"), ("c", "project:c")]
