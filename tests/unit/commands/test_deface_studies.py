"""`dicomnode deface STUDY`: asks, waits, and says why not."""

from __future__ import annotations

import json

import pytest
import typer

from dicomnode.commands import deface_studies as module
from dicomnode.commands.deface_studies import deface_studies
from dicomnode.config import DatabaseSettings
from dicomnode.domain import CopyState, Examination, Revision, SeriesCopy, VerdictKind
from dicomnode.tracking import copied_series, study_copies
from tests.examined_site import *  # noqa: F403
from tests.examined_site import Site
from tests.unit.tracking.copies import volume_copy
from tests.unit.tracking.rows import examined


def face(revision: Revision) -> Examination:
    return examined(revision, VerdictKind.FACE_VISIBLE)


def run(site: Site, *studies: str, wait: bool = False, as_json: bool = False) -> None:
    url = DatabaseSettings(url=str(site.database.url))
    settings = site.settings.model_copy(update={"database": url})
    deface_studies(studies, settings, "default", by="anna", wait=wait, as_json=as_json)


def make(site: Site, *objections: str) -> None:
    """What the worker does while the command waits."""
    with site.database.begin() as c:
        (copy,) = study_copies.asked(c)
        study_copies.set_state(c, copy.id, CopyState.RUNNING)
        volume = volume_copy("2.25.7", *objections)
        one = SeriesCopy(copy.plan[0].series_instance_uid, (volume,))
        copied_series.record(c, copy.id, [one], [])
        study_copies.set_state(c, copy.id, CopyState.DONE)


def test_it_is_asked_for_once_and_names_its_copy(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    study = site.series("a", face)
    for _ in range(2):
        run(site, study, as_json=True)
        (found,) = json.loads(capsys.readouterr().out)["copies"]
        assert (found["copy"]["state"], found["copy"]["asked_by"]) == ("asked", "anna")
        assert found["copy"]["study_instance_uid"] == study
    with site.database.read() as c:
        assert len(study_copies.asked(c)) == 1


def test_what_can_not_be_copied_is_told_and_stops_no_other(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    study, defaced = site.series("a", face), site.series("b")
    with pytest.raises(typer.Exit):
        run(site, "1.2.3", "folder/of/images", defaced, study, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert "nothing was received" in said["refused"]["1.2.3"]
    assert "say --out too" in said["refused"]["folder/of/images"]
    assert "no examined series of it shows a face" in said["refused"][defaced]
    assert [one["copy"]["study_instance_uid"] for one in said["copies"]] == [study]


@pytest.mark.parametrize("objections", [(), ("a nose is there",)])
def test_who_waits_is_told_of_the_proof(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    objections: tuple[str, ...],
) -> None:
    study = site.series("a", face)
    monkeypatch.setattr(module, "verdicts_of_study", lambda *_: ())
    monkeypatch.setattr(module.time, "sleep", lambda _: make(site, *objections))
    monkeypatch.setattr(module, "_is_examined", lambda *_: True)
    if objections:
        with pytest.raises(typer.Exit):
            run(site, study, wait=True)
    else:
        run(site, study, wait=True)
    said = capsys.readouterr().out
    assert ("a nose is there" in said) == bool(objections)
    assert ("proof given (Dice 0.97, 812 ml removed)" in said) != bool(objections)
