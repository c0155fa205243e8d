"""Copies without faces at the desk: asked for by a steward, shown with what proves them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from dicomnode.domain import CopyState, Picture, Role, SeriesCopy, VerdictKind, View
from dicomnode.tracking import audit, copied_series, study_copies
from dicomnode.tracking.study_copies import StudyCopy
from tests.desk_site import Site, make_site, pages_of, token_of, visitor
from tests.unit.tracking.copies import volume_copy

FACE = VerdictKind.FACE_VISIBLE


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path / "site")
    for name, role in (("anna", Role.STEWARD), ("bob", Role.REVIEWER), ("vera", Role.VIEWER)):
        made.add_account(name, role)
    yield made
    made.database.close()


def browser(site: Site, account: str) -> TestClient:
    return visitor(pages_of(site), account)


def ask(client: TestClient, study: str, **more: str) -> int:
    fields = {"csrf_token": token_of(client), **more}
    return client.post(f"/desk/studies/{study}/copies", data=fields).status_code


def copies(site: Site, study: str) -> list[StudyCopy]:
    with site.database.read() as c:
        return study_copies.of_study(c, study)


def make_copy(site: Site, study: str, series: str, *objections: str) -> tuple[str, str]:
    """What a worker does; Study and Series Instance UID of the copy."""
    copied, shown_series = site.add("copy", "T1", VerdictKind.DEFACED)
    pictures = tuple(_picture(site, shade) for shade in (40, 200))
    volume = replace(volume_copy(shown_series, *objections), pictures=pictures)
    with site.database.begin() as c:
        one = study_copies.ask(c, study, copied, [], [], by="anna")
        study_copies.set_state(c, one.id, CopyState.RUNNING)
        copied_series.record(c, one.id, [SeriesCopy(series, (volume,))], [])
        study_copies.set_state(c, one.id, CopyState.DONE)
    return copied, shown_series


def _picture(site: Site, shade: int) -> Picture:
    path = site.settings.results_folder / f"{shade}.png"
    Image.new("L", (4, 3), shade).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Picture(View.OVERVIEW, True, path, digest, 4, 3)


def test_a_steward_asks_once_and_sees_where_it_stands(site: Site) -> None:
    study, _ = site.add("s1", "T1", FACE)
    anna = browser(site, "anna")
    assert "Make a copy without faces" in anna.get(f"/desk/studies/{study}").text
    assert [ask(anna, study), ask(anna, study)] == [303, 303]
    (copy,) = copies(site, study)
    assert (copy.state, copy.asked_by) == (CopyState.ASKED, "anna")
    page = anna.get(f"/desk/studies/{study}").text
    assert "A copy is on its way" in page
    assert "Make a copy" not in page
    with site.database.begin() as c:
        study_copies.set_state(c, copy.id, CopyState.DONE)
    page = anna.get(f"/desk/studies/{study}").text
    assert "the copy of the study as it stands now" in page
    assert "Make a copy" not in page
    with site.database.read() as c:
        (event,) = audit.newest(c, event="copy without faces asked for")
    assert event.detail == {"copy": copy.copy_study_instance_uid, "account": "anna"}


def test_a_study_without_a_face_has_no_button_and_a_forged_form_is_refused(site: Site) -> None:
    study, _ = site.add("s1", "T1", VerdictKind.DEFACED)
    anna = browser(site, "anna")
    assert "Make a copy" not in anna.get(f"/desk/studies/{study}").text
    assert ask(anna, study) == 409
    assert copies(site, study) == []


def test_who_is_no_steward_has_no_button(site: Site) -> None:
    study, _ = site.add("s1", "T1", FACE)
    bob = browser(site, "bob")
    assert "Make a copy" not in bob.get(f"/desk/studies/{study}").text
    assert ask(bob, study) == 403
    assert copies(site, study) == []


def test_original_and_copy_lead_to_each_other_and_the_proof_is_shown(site: Site) -> None:
    study, series = site.add("s1", "T1", FACE)
    copied, shown_series = make_copy(site, study, series)
    bob = browser(site, "bob")
    there = f"/desk/studies/{copied}/series/{shown_series}"
    back = f"/desk/studies/{study}/series/{series}"
    assert f'href="/desk/studies/{copied}"' in bob.get(f"/desk/studies/{study}").text
    assert f'href="/desk/studies/{study}"' in bob.get(f"/desk/studies/{copied}").text
    assert f'href="{there}"' in bob.get(back).text
    page = bob.get(there).text
    assert f'href="{back}"' in page
    for said in ("is given", "812 ml", "0.97", "of 120000 that were found"):
        assert said in page
    for index in (0, 1):
        address = f"/desk/copies/{shown_series}/{index}"
        assert f'src="{address}"' in page
        assert bob.get(address).headers["content-type"] == "image/png"
    assert bob.get(f"/desk/copies/{shown_series}/2").status_code == 400
    assert bob.get(f"/desk/copies/{series}/0").status_code == 404


def test_what_the_proof_objects_to_stands_on_every_page_of_the_copy(site: Site) -> None:
    study, series = site.add("s1", "T1", FACE)
    copied, shown_series = make_copy(site, study, series, "a nose is there")
    bob = browser(site, "bob")
    assert "not given for 1 of 1 series" in bob.get(f"/desk/studies/{study}").text
    for page in (
        f"/desk/studies/{copied}",
        f"/desk/studies/{copied}/series/{shown_series}",
        f"/desk/studies/{study}/series/{series}",
    ):
        assert "a nose is there" in bob.get(page).text


def test_a_viewer_sees_no_picture_of_a_copy(site: Site) -> None:
    study, series = site.add("s1", "T1", FACE)
    copied, shown_series = make_copy(site, study, series)
    vera = browser(site, "vera")
    page = vera.get(f"/desk/studies/{copied}/series/{shown_series}").text
    assert "/desk/copies/" not in page
    assert "your role does not see them" in page
    assert vera.get(f"/desk/copies/{shown_series}/0").status_code == 403


def test_the_copy_is_made_for_the_project_that_the_page_shows(tmp_path: Path) -> None:
    key = "key_file = '/nobody/reads/it/here'"
    own = f"[projects.mine]\ndeidentify = true\n[projects.mine.deidentification]\n{key}"
    site = make_site(tmp_path / "site", web=own)
    site.add_account("anna", Role.STEWARD)
    study, _ = site.add("s1", "T1", FACE)
    anna = browser(site, "anna")
    said = "Its headers are de-identified for project mine"
    assert said not in anna.get(f"/desk/studies/{study}").text
    page = anna.get(f"/desk/studies/{study}?project=mine").text
    assert said in page
    assert '<input type="hidden" name="project" value="mine">' in page
    assert [ask(anna, study, project="mine"), ask(anna, study, project="none")] == [303, 409]
    (copy,) = copies(site, study)
    assert (copy.project, copy.asked_by) == ("mine", "anna")
    assert "for which alone it may leave" in anna.get(f"/desk/studies/{study}").text
    site.database.close()
