"""The review desk in a real Chromium, against the HTTP role as a site runs it.

`DESK_SCREENSHOTS=FOLDER` keeps the screenshots.
"""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicomnode.domain import Role, VerdictKind
from dicomnode.tracking import decisions
from dicomnode.tracking.gate_schema import logins
from dicomnode.web.desk.neighbours import series_href
from tests.command_line import dicomnode
from tests.desk_site import (
    LOCALIZER,
    Site,
    drawn_pictures,
    grey_pictures,
    make_site,
    running_desk,
)
from tests.e2e.desk_browser import (
    FAULTS,
    NARROW,
    WIDE,
    Person,
    chromium,
    missing_chromium,
    person,
)
from tests.e2e.site import wait_until

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(missing_chromium()), reason=missing_chromium()),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = make_site(tmp_path_factory.mktemp("desk"), desk="show_patient_names = true")
    for name, role in (
        ("anna", Role.STEWARD),
        ("bob", Role.REVIEWER),
        ("root", Role.ADMINISTRATOR),
    ):
        made.add_account(name, role)
    with running_desk(made):
        yield made
    made.database.close()


@pytest.fixture(scope="module")
def browser():  # type: ignore[no-untyped-def]
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def held(site: Site) -> tuple[str, str]:
    """A study that waits for a person, with drawn pictures; and another one behind it."""
    found = site.add("held", "T1", VerdictKind.UNDETERMINED, pictures=drawn_pictures)
    site.add("behind", "T1", VerdictKind.UNDETERMINED, pictures=grey_pictures)
    return found


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("DESK_SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def anna(browser, site: Site) -> Iterator[Person]:  # type: ignore[no-untyped-def]
    with person(browser, site) as steward:
        steward.log_in("anna")
        yield steward


@pytest.fixture
def bob(browser, site: Site) -> Iterator[Person]:  # type: ignore[no-untyped-def]
    with person(browser, site) as reviewer:
        reviewer.log_in("bob")
        yield reviewer


def gate(site: Site, study: str, project: str) -> int:
    """The exit code of the gate: 0 release, 3 hold."""
    asked = ("gate", "decide", study, "--project", project, "--config", str(site.config))
    return dicomnode(*asked).returncode


def said(site: Site, series: str) -> list[tuple[str, str]]:
    with site.database.read() as c:
        return [(one.account, one.kind.value) for one in decisions.history(c, series)]


def another(site: Site, name: str) -> tuple[str, str]:
    """A study of its own that waits for a person."""
    return site.add(name, "T1", VerdictKind.UNDETERMINED, pictures=grey_pictures)


def test_a_steward_sees_the_held_study_looks_decides_and_the_export_then_passes(
    site: Site, held: tuple[str, str], anna: Person, screenshots: Path, tmp_path: Path
) -> None:
    study, series = held
    assert gate(site, study, "cohort-7") == 3
    page = anna.go(f"/desk/studies/{study}?project=cohort-7")
    assert page.get_by_text("a person has to decide").is_visible()
    anna.picture(screenshots, "study-held")
    anna.go("/desk/queue")
    assert page.get_by_role("link", name="Begin with the oldest").is_visible()
    page.get_by_role("link", name=series).click()
    page.wait_for_load_state("load")
    seen = page.eval_on_selector_all(".views img", "all => all.map(i => i.naturalWidth)")
    assert len(seen) >= 12
    assert all(width >= 500 for width in seen[:12])
    anna.picture(screenshots, "series-to-decide")
    page.keyboard.press("d")
    page.keyboard.type("nothing of the face is left")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**?told=*")
    assert series not in page.url
    assert said(site, series) == [("anna", "defaced")]
    assert gate(site, study, "cohort-7") == 0
    listed, out = tmp_path / "studies.txt", tmp_path / "out"
    listed.write_text(f"{study}\n")
    export = ("export", "--project", "cohort-7", "--to", str(out), "--studies", str(listed))
    left = dicomnode(*export, "--config", str(site.config))
    assert left.returncode == 0, left.stderr
    assert len(list(out.rglob("*.dcm"))) == 4
    anna.go("/desk/exports")
    assert page.get_by_role("cell", name="left").first.is_visible()
    anna.picture(screenshots, "exports")


def test_a_steward_releases_with_a_receipt_that_proves_itself(
    site: Site, anna: Person, tmp_path: Path, screenshots: Path
) -> None:
    study, _ = site.add("free", "T1", VerdictKind.DEFACED, pictures=grey_pictures)
    page = anna.go(f"/desk/studies/{study}")
    page.get_by_label("Why it is released").fill("for cohort 7")
    page.get_by_role("button", name="Release and issue a receipt").click()
    page.wait_for_url("**/desk/receipts/*")
    anna.picture(screenshots, "receipt")
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download the receipt").click()
    file = tmp_path / "receipt.json"
    begun.value.save_as(file)
    key = str(site.folder / "gate-key.pub")
    proof = dicomnode("gate", "verify", str(file), "--public-key", key)
    assert proof.returncode == 0, proof.stdout
    assert "anna: for cohort 7" in proof.stdout


def test_a_reviewer_can_not_release(site: Site, bob: Person) -> None:
    study, _ = site.add("not-his", "T1", VerdictKind.DEFACED, pictures=grey_pictures)
    page = bob.go(f"/desk/studies/{study}")
    assert page.get_by_text("may leave").first.is_visible()
    assert page.get_by_role("button", name="Release").count() == 0
    token = page.locator("[name=csrf_token]").first.input_value()
    fields = {"csrf_token": token, "project": "default", "note": "x", "seen": "x"}
    headers = {"Origin": site.address, "Sec-Fetch-Site": "same-origin"}
    path = f"{site.address}/desk/studies/{study}/receipts"
    assert page.request.post(path, form=fields, headers=headers).status == 403
    assert page.request.get(f"{site.address}/desk/exports").status == 403


def test_a_form_on_another_page_of_this_machine_decides_nothing(site: Site, bob: Person) -> None:
    study, series = another(site, "forged")
    page = bob.go(series_href(study, series))
    seen = page.locator("[name=examination]").first.input_value()
    token = page.locator("#decision [name=csrf_token]").input_value()
    action = f"{site.address}{series_href(study, series)}/decisions"
    names = {"examination": seen, "decision": "defaced", "note": "forged", "csrf_token": token}
    inputs = "".join(f"<input name={name} value='{value}'>" for name, value in names.items())
    html = f"<form method=post action='{action}'>{inputs}<button>go</button></form>"
    with _stranger(html) as address:
        page.goto(address)
        page.get_by_role("button").click()
        page.wait_for_url("**/decisions")
    assert page.get_by_text("not of our pages").is_visible()
    assert said(site, series) == []


class _stranger:  # noqa: N801
    """A page of another port of this machine: the same site to a browser, another origin."""

    def __init__(self, html: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(html.encode())

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_stale_page_is_refused_with_a_clear_message(
    site: Site, bob: Person, screenshots: Path
) -> None:
    study, series = another(site, "stale")
    page = bob.go(series_href(study, series))
    site.examine(site.revision(series), VerdictKind.FACE_VISIBLE, pictures=grey_pictures)
    page.locator("input[value=defaced]").check()
    page.get_by_label("Why").fill("it looked fine")
    page.get_by_role("button", name="Record decision").click()
    alert = page.get_by_role("alert")
    assert "Nothing was recorded." in alert.inner_text()
    assert "look again" in alert.inner_text()
    assert page.get_by_label("Why").input_value() == "it looked fine"
    assert said(site, series) == []
    bob.picture(screenshots, "stale")


def test_two_people_release_what_one_can_not(site: Site, anna: Person, bob: Person) -> None:
    study, series = another(site, "two")
    for someone, expected in ((anna, 3), (bob, 0)):
        page = someone.go(series_href(study, series))
        page.locator("input[value=defaced]").check()
        page.get_by_label("Why").fill("nothing left")
        page.get_by_label("Then open the next").uncheck()
        page.get_by_role("button", name="Record decision").click()
        page.wait_for_url("**?told=decided")
        assert gate(site, study, "two-people") == expected


def test_a_login_that_was_idle_too_long_has_ended(site: Site, bob: Person) -> None:
    with site.database.begin() as c:
        c.execute(sa.update(logins).values(last_seen_at=datetime.now(UTC) - timedelta(hours=1)))
    page = bob.go("/desk/studies?verdict=DEFACED")
    assert page.get_by_role("heading", name="Log in").is_visible()
    assert "next=" in page.url
    assert page.locator("[name=next]").input_value() == "/desk/studies?verdict=DEFACED"


def test_after_log_out_nothing_is_shown_and_going_back_shows_nothing(
    site: Site, bob: Person
) -> None:
    page = bob.go("/desk/studies")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.go_back()
    assert page.get_by_role("heading", name="Log in").is_visible()


def test_what_somebody_writes_is_never_run(site: Site, bob: Person, anna: Person) -> None:
    study, series = another(site, "xss")
    note = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    page = bob.go(series_href(study, series))
    page.locator("input[value=not_defaced]").check()
    page.get_by_label("Why").fill(note)
    page.get_by_role("button", name="Record decision").click()
    page.wait_for_url("**?told=*")
    for path in (series_href(study, series), f"/desk/studies/{study}"):
        shown = anna.go(path)
        assert shown.get_by_text("<img src=x").first.is_visible()
        assert shown.title() != "run"


def test_the_keyboard_does_it_all_and_is_left_alone_while_somebody_writes(
    site: Site, bob: Person
) -> None:
    first, second = another(site, "keys-1"), another(site, "keys-2")
    page = bob.go(series_href(*first))
    page.keyboard.press("m")
    assert page.get_by_role("button", name="Show masks").is_visible()
    assert page.locator(".mask").first.is_hidden()
    page.keyboard.press("m")
    page.keyboard.press("2")
    assert page.locator("figure.big").count() == 1
    page.keyboard.press("f")
    assert page.locator("input[value=not_defaced]").is_checked()
    assert page.evaluate("document.activeElement.id") == "note"
    page.keyboard.type("n and p and m")
    assert page.get_by_label("Why").input_value() == "n and p and m"
    page.get_by_role("heading", name="Your decision").click()
    page.keyboard.press("n")
    page.wait_for_url(f"**{series_href(*second)}")
    page.keyboard.press("p")
    page.wait_for_url(f"**{series_href(*first)}")


def test_shortcuts_can_be_switched_off(site: Site, bob: Person) -> None:
    page = bob.go(series_href(*another(site, "off")))
    page.get_by_text("Keyboard shortcuts").click()
    page.get_by_label("Shortcuts are on").uncheck()
    page.get_by_role("heading", name="Your decision").click()
    page.keyboard.press("f")
    assert not page.locator("input[value=not_defaced]").is_checked()
    page.reload()
    assert page.evaluate("localStorage.getItem('desk-shortcuts')") == "off"


def test_a_decision_needs_no_script(browser, site: Site) -> None:  # type: ignore[no-untyped-def]
    study, series = another(site, "no-script")
    with person(browser, site, java_script_enabled=False) as plain:
        plain.log_in("bob")
        page = plain.go(series_href(study, series))
        assert page.get_by_role("button", name="Hide masks").count() == 0
        page.locator("input[value=not_applicable]").check()
        page.get_by_label("Why").fill("a knee")
        page.get_by_role("button", name="Record decision").click()
        page.wait_for_url("**?told=*")
    assert said(site, series) == [("bob", "not_applicable")]


def test_a_new_entry_comes_without_loading_the_page_again(site: Site, bob: Person) -> None:
    page = bob.go("/desk/queue")
    page.evaluate("window.stayed = true")
    _, series = another(site, "new")
    page.get_by_role("link", name=series).wait_for()
    assert page.evaluate("window.stayed") is True
    said = page.locator("[data-live-said]")
    wait_until("it is told", lambda: "wait for a person" in said.inner_text(), 10)


def test_a_hidden_page_asks_nothing(site: Site, bob: Person) -> None:
    page = bob.go("/desk/queue")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})"
    )
    page.wait_for_timeout(2500)
    hidden = [url for url in asked if "/live" in url]
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    wait_until("it asks again", lambda: any("/live" in url for url in asked), 10)
    assert hidden == []


def test_a_queue_that_lost_its_login_says_so(site: Site, bob: Person) -> None:
    page = bob.go("/desk/queue")
    bob.context.clear_cookies()
    page.get_by_text("not live").wait_for()


def test_the_first_tab_skips_to_the_content(bob: Person) -> None:
    page = bob.go("/desk/queue")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_light_and_dark_are_a_choice_that_stays(bob: Person) -> None:
    page = bob.go("/desk/queue")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after
    bob.go("/desk/studies")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


@pytest.fixture(scope="module")
def every_page(site: Site, held: tuple[str, str]) -> list[tuple[str, str]]:
    """Name and path of each page, with something on it."""
    face = site.add(
        "face", "T1", VerdictKind.FACE_VISIBLE, set_aside=[LOCALIZER], pictures=drawn_pictures
    )
    site.fail(site.complete(site.receive("failed", "T1")), "the pixels of 3 images can't be read")
    site.receive("arriving", "T1")
    names = ("queue", "studies", "projects", "exports", "audit", "system", "accounts")
    return [
        *((name, f"/desk/{name}") for name in names),
        ("study", f"/desk/studies/{held[0]}?project=cohort-7"),
        ("series", series_href(*held)),
        ("series-face", series_href(*face)),
        ("not-found", "/desk/nothing"),
    ]


def test_every_page_can_be_read_and_used(  # type: ignore[no-untyped-def]
    browser, site: Site, every_page: list[tuple[str, str]], screenshots: Path
) -> None:
    """Wide and narrow, light and dark."""
    with person(browser, site, reduced_motion="reduce") as root:
        root.go("/login")
        assert faults(root, "login", screenshots) == []
        root.log_in("root")
        for name, path in every_page:
            page = root.go(path)
            for summary in page.locator("summary").all():
                summary.click()
            assert faults(root, name, screenshots) == []


def faults(somebody: Person, name: str, screenshots: Path) -> list[str]:
    """Of the page that is open; there is a picture of each look."""
    found = []
    for width, height in (WIDE, NARROW):
        somebody.page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            somebody.page.emulate_media(color_scheme=scheme)
            look = f"{name}-{width}-{scheme}"
            found += [f"{look}: {fault}" for fault in somebody.page.evaluate(FAULTS)]
            somebody.picture(screenshots, look)
    return found
