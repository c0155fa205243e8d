"""What the pages of the desk show and refuse, asked without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from dicomnode.domain import Role, VerdictKind
from dicomnode.errors import ModelError
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.tracking import audit, decisions, held
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.gate_schema import logins
from dicomnode.tracking.held import HeldFile, HeldState
from dicomnode.tracking.receipts import newest
from dicomnode.web.desk import words
from dicomnode.web.desk.neighbours import series_href
from tests.databases import *  # noqa: F403
from tests.desk_site import LOCALIZER, Site, grey_pictures, make_site, pages_of, token_of, visitor

ALERT = "<script>alert(1)</script>"
PEOPLE = (
    ("anna", Role.STEWARD),
    ("bob", Role.REVIEWER),
    ("vera", Role.VIEWER),
    ("root", Role.ADMINISTRATOR),
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path / "site")
    for name, role in PEOPLE:
        made.add_account(name, role)
    yield made
    made.database.close()


def browser(site: Site, account: str) -> TestClient:
    return visitor(pages_of(site), account)


def decide(client: TestClient, href: str, **fields: Any) -> Any:
    given = {"decision": "defaced", "note": "nothing is left", "csrf_token": token_of(client)}
    return client.post(f"{href}/decisions", data=given | fields)


def examination(client: TestClient, href: str) -> str:
    """What the form says that was seen."""
    found = re.search(r'name="examination" value="(\d+)"', client.get(href).text)
    assert found is not None
    return found[1]


def said_of(site: Site, series_uid: str) -> list[tuple[str, str]]:
    with site.database.read() as c:
        return [(one.account, one.kind.value) for one in decisions.history(c, series_uid)]


def test_a_decision_is_recorded_with_who_took_it_and_the_next_one_opens(site: Site) -> None:
    first = series_href(*site.add("s1", "T1", VerdictKind.UNDETERMINED))
    second = series_href(*site.add("s2", "T1", VerdictKind.UNDETERMINED))
    bob = browser(site, "bob")
    answer = decide(bob, first, examination=examination(bob, first), then="next")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{second}?told=decided")
    assert "Your decision is recorded" in bob.get(answer.headers["location"]).text
    assert said_of(site, first.rpartition("/")[2]) == [("bob", "defaced")]
    last = decide(bob, second, examination=examination(bob, second), then="next")
    assert last.headers["location"] == "/desk/queue?told=last"


def test_a_stale_page_is_refused_and_nothing_is_recorded_and_the_note_is_kept(site: Site) -> None:
    study, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    href, bob = series_href(study, series), browser(site, "bob")
    seen = examination(bob, href)
    revision = site.revision(series)
    site.examine(revision, VerdictKind.FACE_VISIBLE)
    answer = decide(bob, href, examination=seen, note="it looked fine")
    assert answer.status_code == 409
    assert "Nothing was recorded" in answer.text
    assert "look again" in answer.text
    assert 'value="it looked fine"' in answer.text
    assert " checked" not in answer.text.partition("<fieldset>")[2].partition("</fieldset>")[0]
    assert said_of(site, series) == []
    again = decide(bob, href, examination=examination(bob, href), decision="not_defaced")
    assert again.status_code == 303


@pytest.mark.parametrize(
    "fields",
    [
        {"examination": ""},
        {"examination": "x"},
        {"decision": "released"},
        {"note": ""},
        {"note": "two\nlines"},
        {"note": "n" * 501},
        {"examination": "9" * 30},
    ],
    ids=str,
)
def test_a_form_that_lacks_what_was_seen_or_why_records_nothing(
    site: Site, fields: dict[str, str]
) -> None:
    study, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    href, bob = series_href(study, series), browser(site, "bob")
    answer = decide(bob, href, **({"examination": examination(bob, href)} | fields))
    assert answer.status_code == 409
    assert said_of(site, series) == []


def test_a_decision_for_a_series_under_another_study_is_not_found(site: Site) -> None:
    study, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    other, _ = site.add("s2", "T1", VerdictKind.UNDETERMINED)
    bob = browser(site, "bob")
    seen = examination(bob, series_href(study, series))
    assert decide(bob, series_href(other, series), examination=seen).status_code == 404
    assert said_of(site, series) == []


def test_each_takes_back_its_own_decision_alone(site: Site) -> None:
    study, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    href, bob, anna = series_href(study, series), browser(site, "bob"), browser(site, "anna")
    seen = examination(bob, href)
    decide(bob, href, examination=seen)
    assert "Take back my decision" in bob.get(href).text
    assert "Take back my decision" not in anna.get(href).text
    assert decide(anna, href, examination=seen, decision="revoked").status_code == 409
    assert decide(bob, href, examination=seen, decision="revoked").status_code == 303
    assert said_of(site, series) == [("bob", "defaced"), ("bob", "revoked")]


def test_what_people_and_peers_write_is_text_on_every_page(site: Site) -> None:
    study, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    href, anna = series_href(study, series), browser(site, "anna")
    decide(anna, href, examination=examination(anna, href), note=ALERT)
    failed = site.complete(site.receive("s2", "T1"))
    site.fail(failed, ALERT)
    queries = (f"/desk/audit?event={ALERT}", f"/desk/studies?modality={ALERT}")
    failing = series_href(failed.study_instance_uid, failed.series_instance_uid)
    for path in (href, f"/desk/studies/{study}", failing, "/desk/queue", *queries):
        page = anna.get(path).text
        assert ALERT not in page, path
        assert "&lt;script&gt;" in page, path


def test_a_viewer_gets_no_address_of_a_picture_and_no_form(site: Site) -> None:
    href = series_href(*site.add("s1", "T1", VerdictKind.UNDETERMINED, pictures=grey_pictures))
    page = browser(site, "vera").get(href).text
    assert "/desk/pictures/" not in page
    assert "Pictures can show a face: your role does not see them." in page
    assert "<form" not in page.partition('id="decide"')[2].partition("</section>")[0]
    assert "/desk/pictures/1/1/" in browser(site, "bob").get(href).text


def test_a_picture_comes_as_it_was_recorded_or_not_at_all(site: Site) -> None:
    site.add("s1", "T1", VerdictKind.UNDETERMINED, pictures=grey_pictures)
    bob = browser(site, "bob")
    first = bob.get("/desk/pictures/1/1/0")
    assert (first.status_code, first.headers["content-type"]) == (200, "image/png")
    assert first.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    assert bob.get("/desk/pictures/1/1/0", headers=known).status_code == 304
    assert bob.get("/desk/pictures/1/1/99").status_code == 404
    assert bob.get("/desk/pictures/1/2/0").status_code == 404
    assert bob.get(f"/desk/pictures/{2**40}/1/0").status_code == 400
    (overview,) = (site.settings.results_folder / "pictures").glob("grey.png")
    overview.write_bytes(b"another picture")
    assert bob.get("/desk/pictures/1/1/0").status_code == 410


def test_a_row_that_names_a_file_elsewhere_shows_nothing(site: Site, tmp_path: Path) -> None:
    folder = site.settings.results_folder / "pictures"
    site.add("s1", "T1", VerdictKind.UNDETERMINED, pictures=grey_pictures)
    (overview,) = folder.glob("grey.png")
    elsewhere = tmp_path / "elsewhere.png"
    overview.rename(elsewhere)
    overview.symlink_to(elsewhere)
    assert browser(site, "bob").get("/desk/pictures/1/1/0").status_code == 410


def test_a_held_study_has_no_release_and_a_forged_one_is_refused(site: Site) -> None:
    study, _ = site.add("s1", "T1", VerdictKind.FACE_VISIBLE)
    anna, href = browser(site, "anna"), f"/desk/studies/{study}"
    assert "Release and issue" not in anna.get(href).text
    fields = {"csrf_token": token_of(anna), "project": "default", "note": "please", "seen": "x"}
    answer = anna.post(f"{href}/receipts", data=fields)
    assert answer.status_code == 409
    assert "The gate holds this study" in answer.text
    with site.database.read() as c:
        assert newest(c) == []


def test_a_steward_releases_what_the_gate_lets_leave_by_name(site: Site) -> None:
    study, _ = site.add("s1", "T1", VerdictKind.DEFACED)
    anna, href = browser(site, "anna"), f"/desk/studies/{study}"
    page = anna.get(href).text
    seen = re.search(r'name="seen" value="([0-9a-f]{64})"', page)
    assert seen is not None
    fields = {"csrf_token": token_of(anna), "project": "default", "note": "for cohort 7"}
    assert anna.post(f"{href}/receipts", data=fields | {"seen": "0" * 64}).status_code == 409
    without_note = fields | {"seen": seen[1], "note": " "}
    assert anna.post(f"{href}/receipts", data=without_note).status_code == 409
    answer = anna.post(f"{href}/receipts", data=fields | {"seen": seen[1]})
    assert answer.headers["location"] == "/desk/receipts/1?told=receipt"
    receipt = anna.get("/desk/receipts/1").text
    assert "anna: for cohort 7" in receipt
    document = anna.get("/desk/receipts/1/receipt.json")
    assert document.headers["content-disposition"] == 'attachment; filename="receipt-1.json"'
    with site.database.read() as c:
        (kept,) = newest(c)
        (event,) = audit.newest(c, 1, event="receipt issued")
    assert document.text == f"{kept.document}\n"
    assert event.detail["by"] == "anna"


def test_a_study_that_changed_since_it_was_seen_is_not_released(site: Site) -> None:
    study, series = site.add("s1", "T1", VerdictKind.DEFACED)
    anna, href = browser(site, "anna"), f"/desk/studies/{study}"
    seen = re.search(r'name="seen" value="([0-9a-f]{64})"', anna.get(href).text)
    assert seen is not None
    site.examine(site.revision(series), VerdictKind.DEFACED)
    fields = {"csrf_token": token_of(anna), "project": "default", "note": "fine"}
    answer = anna.post(f"{href}/receipts", data=fields | {"seen": seen[1]})
    assert answer.status_code == 409
    assert "has changed since you opened this page" in answer.text


def test_a_patients_name_is_shown_to_a_steward_who_asks_and_that_is_recorded(
    tmp_path: Path,
) -> None:
    site = make_site(tmp_path, desk="show_patient_names = true")
    for name, role in PEOPLE:
        site.add_account(name, role)
    study, series = site.add("s1", "T1", VerdictKind.DEFACED)
    anna, bob, href = browser(site, "anna"), browser(site, "bob"), f"/desk/studies/{study}"
    for path in (href, series_href(study, series), "/desk/queue", "/desk/studies", "/desk/audit"):
        assert "Nobody^Drawn" not in anna.get(path).text
    shown = anna.post(f"{href}/patient", data={"csrf_token": token_of(anna)})
    assert "Nobody^Drawn" in shown.text
    assert shown.headers["cache-control"] == "no-store"
    with site.database.read() as c:
        (event,) = audit.newest(c, 1, event="patient shown")
    assert (event.subject, event.detail) == (study, {"account": "anna"})
    assert bob.post(f"{href}/patient", data={"csrf_token": token_of(bob)}).status_code == 403
    assert "Show what the images say" not in bob.get(href).text
    site.database.close()


def test_no_name_is_shown_where_the_site_does_not_allow_it(site: Site) -> None:
    study, _ = site.add("s1", "T1", VerdictKind.DEFACED)
    root, href = browser(site, "root"), f"/desk/studies/{study}"
    assert "Show what the images say" not in root.get(href).text
    answer = root.post(f"{href}/patient", data={"csrf_token": token_of(root)})
    assert answer.status_code == 403
    assert "Nobody" not in answer.text


def test_the_live_part_is_sent_again_only_when_it_changed(site: Site) -> None:
    site.add("s1", "T1", VerdictKind.UNDETERMINED)
    vera = browser(site, "vera")
    before = vera.get("/desk/queue/live")
    known = {"If-None-Match": before.headers["etag"]}
    site.add("s2", "T1", VerdictKind.UNDETERMINED)
    after = vera.get("/desk/queue/live", headers=known)
    assert after.status_code == 200
    assert 'data-sentence="2 wait for a person, 0 failed"' in after.text
    assert "<html" not in after.text


def test_a_page_that_was_left_open_keeps_no_login_alive(site: Site) -> None:
    vera = browser(site, "vera")
    before = datetime.now(UTC) - timedelta(minutes=5)
    with site.database.begin() as c:
        c.execute(sa.update(logins).values(last_seen_at=before))

    def last_seen() -> datetime:
        with site.database.read() as c:
            return c.execute(sa.select(logins.c.last_seen_at)).scalar_one()

    assert vera.get("/desk/queue/live", headers={"Sec-Fetch-Mode": "cors"}).status_code == 200
    assert last_seen() == before
    assert vera.get("/desk/queue", headers={"Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert last_seen() > before


def test_the_queue_groups_what_waits_and_leads_on(site: Site) -> None:
    for number in range(12):
        site.fail(site.complete(site.receive(f"f{number}", "T1")), f"broken {number}")
    page = browser(site, "vera").get("/desk/queue").text
    assert "broken 9" in page
    assert "broken 11" not in page
    more = re.search(r'<a href="(/desk/queue\?part=failed&amp;after=\d+)">More of these', page)
    assert more is not None
    rest = browser(site, "vera").get(more[1].replace("&amp;", "&")).text
    assert "broken 11" in rest
    assert "broken 9" not in rest


def test_the_list_of_studies_filters_searches_and_asks_the_gate_for_a_project(site: Site) -> None:
    held, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    free, _ = site.add("s2", "T1", VerdictKind.DEFACED)
    vera = browser(site, "vera")
    every = vera.get("/desk/studies?project=cohort-7").text
    assert "2 studies" in every
    assert every.count("may leave</span>") == 1
    only = vera.get("/desk/studies?verdict=DEFACED&modality=mr&received_from=2020-01-01").text
    assert (free in only, held in only) == (True, False)
    found = vera.get(f"/desk/studies?q={series[:20]}").text
    assert (free in found, held in found) == (False, True)
    assert "No study is like this" in vera.get("/desk/studies?received_until=2020-01-01").text


@pytest.mark.parametrize(
    "query", ["after=x", "verdict=X", "state=X", "received_from=never", "after=" + "9" * 200]
)
def test_a_forged_filter_is_refused_in_words(site: Site, query: str) -> None:
    answer = browser(site, "vera").get(f"/desk/studies?{query}")
    assert answer.status_code == 400
    assert "<h1>This was refused</h1>" in answer.text


def test_receipts_are_no_part_of_a_viewers_timeline(site: Site) -> None:
    study, _ = site.add("s1", "T1", VerdictKind.DEFACED)
    anna, href = browser(site, "anna"), f"/desk/studies/{study}"
    seen = re.search(r'name="seen" value="([0-9a-f]{64})"', anna.get(href).text)
    assert seen is not None
    fields = {"csrf_token": token_of(anna), "project": "default", "note": "fine", "seen": seen[1]}
    anna.post(f"{href}/receipts", data=fields)
    assert "receipt issued" in anna.get(href).text
    assert "receipt" not in browser(site, "vera").get(href).text.lower()


def test_what_was_set_aside_is_said_beside_the_volumes(site: Site) -> None:
    both = (VerdictKind.DEFACED, VerdictKind.DEFACED)
    href = series_href(*site.add("s1", "T1", *both, set_aside=[LOCALIZER]))
    page = browser(site, "bob").get(href).text
    assert "Volume 2 of 2: EchoTime 5" in page
    assert "Some of its images were set aside" in page
    assert "LOCALIZER" in page


def test_an_fmri_is_shown_some_volumes_at_a_time(site: Site) -> None:
    verdicts, labels = (VerdictKind.DEFACED,) * 20, [f"time {n}" for n in range(20)]
    href = series_href(*site.add("s1", "T1", *verdicts, labels=labels))
    bob = browser(site, "bob")
    assert "Volumes 9 to 16 of 20" in bob.get(href).text
    middle = bob.get(f"{href}?volume=9").text
    assert ("Volume 9 of 20" in middle, "Volume 17 of 20" in middle) == (True, False)
    assert "Volumes 1 to 8" in middle


def test_two_people_are_told_how_many_have_decided(site: Site) -> None:
    study, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    href, bob = series_href(study, series), browser(site, "bob")
    decide(bob, href, examination=examination(bob, href))
    queue = bob.get("/desk/queue").text
    assert "1 of 2 people decided" in queue
    assert "may leave</span>" in bob.get(f"/desk/studies/{study}?project=cohort-7").text
    assert "held</span>" in bob.get(f"/desk/studies/{study}?project=two-people").text


def test_networks_that_are_wrong_are_said_in_a_page_and_where_they_lie_in_the_log(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_examiner: object) -> None:
        raise ModelError("/srv/models/manifest.json: not a model manifest")

    site.add("s1", "T1", VerdictKind.DEFACED)
    monkeypatch.setattr(ExaminerInUse, "now", broken)
    answer = browser(site, "vera").get("/desk/studies")
    assert answer.status_code == 503
    assert "The networks are not as installed, so nothing can be decided." in answer.text
    assert "manifest" not in answer.text
    assert "/srv/models/manifest.json: not a model manifest" in caplog.text


def test_the_login_page_tells_that_it_was_refused_and_leads_to_our_own_pages_only(
    site: Site,
) -> None:
    nobody = visitor(pages_of(site))
    assert "is wrong, or the account is paused" in nobody.get("/login?refused=1").text
    assert 'name="next" value="/desk/studies"' in nobody.get("/login?next=/desk/studies").text
    assert 'name="next" value="/"' in nobody.get("/login?next=//evil.example").text


def test_the_theme_of_a_cookie_is_one_of_two(site: Site) -> None:
    vera = browser(site, "vera")
    for given, expected in (("dark", 'data-theme="dark"'), ('x" onload="', '<html lang="en">')):
        assert expected in vera.get("/desk/queue", headers={"Cookie": _cookies(vera, given)}).text


def _cookies(client: TestClient, theme: str) -> str:
    own = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    return f"{own}; desk_theme={theme}"


@pytest.mark.parametrize("kind", DecisionKind)
def test_every_decision_has_words(kind: DecisionKind) -> None:
    assert words.badge("decision", kind).tone in ("good", "calm", "bad")


def test_the_pages_are_the_same_on_both_databases(database_url: str, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", database_url=database_url)
    site.add_account("root", Role.ADMINISTRATOR)
    study, series = site.add("s1", "T1", VerdictKind.UNDETERMINED)
    site.fail(site.complete(site.receive("s2", "T1")), "broken")
    root, href = browser(site, "root"), series_href(study, series)
    assert decide(root, href, examination=examination(root, href)).status_code == 303
    pages = ("queue", "studies", "projects", "exports", "audit", "system", "accounts")
    for path in (*(f"/desk/{page}" for page in pages), f"/desk/studies/{study}", href):
        assert root.get(path).status_code == 200, path
    site.database.close()


def test_every_object_that_waits_at_the_gate_is_on_a_page(site: Site) -> None:
    uids = [f"1.2.{number}" for number in range(100, 130)]
    with site.database.begin() as c:
        for uid in uids:
            file = HeldFile("p", uid, "1.2", "1.2", "1.2", "1.2", f"ab/{uid}", "ab", 9, "DESK", "")
            held.hold(c, file, HeldState.WAITING, "its study is held")
    anna, href, seen = browser(site, "anna"), "/desk/exports", ""
    while href:
        text = anna.get(href).text
        seen += text
        older = re.search(r'href="(/desk/exports\?held_before=\d+)"', text)
        href = older[1] if older else ""
    assert [uid for uid in uids if f"/desk/studies/{uid}?" not in seen] == []
