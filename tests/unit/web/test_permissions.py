"""Every page of the desk and every role: who may, who is refused, and that none is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.testclient import TestClient

from dicomnode.domain import Role, VerdictKind
from dicomnode.tracking import audit
from dicomnode.web.permissions import LEAST_ROLE, Permission, may
from tests.desk_site import Site, make_site, pages_of, token_of, visitor

# The least role of each route; whoever adds one has to say here who may ask for it.
LEAST: Mapping[tuple[str, str], Role] = {
    ("GET", "/desk/queue"): Role.VIEWER,
    ("GET", "/desk/queue/live"): Role.VIEWER,
    ("GET", "/desk/studies"): Role.VIEWER,
    ("GET", "/desk/studies/{study_uid}"): Role.VIEWER,
    ("GET", "/desk/studies/{study_uid}/series/{series_uid}"): Role.VIEWER,
    ("GET", "/desk/projects"): Role.VIEWER,
    ("GET", "/desk/pictures/{examination_id}/{volume_number}/{index}"): Role.REVIEWER,
    ("GET", "/desk/copies/{series_uid}/{index}"): Role.REVIEWER,
    ("POST", "/desk/studies/{study_uid}/series/{series_uid}/decisions"): Role.REVIEWER,
    ("GET", "/desk/exports"): Role.STEWARD,
    ("GET", "/desk/receipts/{number}"): Role.STEWARD,
    ("GET", "/desk/receipts/{number}/receipt.json"): Role.STEWARD,
    ("GET", "/desk/audit"): Role.STEWARD,
    ("POST", "/desk/studies/{study_uid}/receipts"): Role.STEWARD,
    ("POST", "/desk/studies/{study_uid}/copies"): Role.STEWARD,
    ("POST", "/desk/studies/{study_uid}/patient"): Role.STEWARD,
    ("GET", "/desk/system"): Role.ADMINISTRATOR,
    ("GET", "/desk/accounts"): Role.ADMINISTRATOR,
}
LEADS_ON = {("GET", "/"), ("GET", "/desk")}
OPEN = LEADS_ON | {("GET", "/login"), ("POST", "/login"), ("POST", "/logout")}
POSTS = [route for route in LEAST if route[0] == "POST"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = make_site(tmp_path_factory.mktemp("desk"), desk="show_patient_names = true")
    for role in Role:
        made.add_account(role.value, role)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def pages(site: Site) -> FastAPI:
    return pages_of(site)


@pytest.fixture(scope="module")
def address(site: Site) -> Mapping[str, str]:
    """What stands in the places of an address: a held study, a picture that isn't there."""
    study, series = site.add("held", "T1", VerdictKind.FACE_VISIBLE)
    numbers = {"examination_id": "1", "volume_number": "1", "index": "0", "number": "1"}
    return {"study_uid": study, "series_uid": series} | numbers


@pytest.fixture(scope="module")
def browsers(pages: FastAPI) -> Mapping[Role, TestClient]:
    return {role: visitor(pages, role.value) for role in Role}


def test_no_route_is_forgotten(pages: FastAPI) -> None:
    routes = {
        (method, context.path)
        for context in iter_route_contexts(pages.routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    }
    assert routes == set(LEAST) | OPEN


@pytest.mark.parametrize("route", sorted(LEADS_ON), ids=" ".join)
def test_the_beginning_leads_to_the_queue(
    browsers: Mapping[Role, TestClient], route: tuple[str, str]
) -> None:
    answer = browsers[Role.VIEWER].get(route[1])
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk/queue")


def test_the_link_of_the_documents_leads_to_a_page() -> None:
    text = (Path(__file__).parents[3] / "docs/notifications.md").read_text()
    (path,) = re.findall(r'^link = "https://[^/]+(/.*)"$', text, re.M)
    assert ("GET", path) in LEAST


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("route", LEAST, ids=" ".join)
def test_a_role_is_answered_or_refused(
    browsers: Mapping[Role, TestClient],
    address: Mapping[str, str],
    route: tuple[str, str],
    role: Role,
) -> None:
    method, path = route
    browser, path = browsers[role], path.format(**address)
    fields = {"csrf_token": token_of(browser)} if method == "POST" else None
    answer = browser.request(method, path, data=fields)
    if role.includes(LEAST[route]):
        # A decision that lacks all is refused as a conflict; what was done leads back to a page.
        assert answer.status_code in (200, 303, 404, 409)
        assert "/login" not in answer.headers.get("location", "")
    else:
        assert answer.status_code == 403


@pytest.mark.parametrize("route", LEAST, ids=" ".join)
def test_nobody_is_answered_without_a_login(
    pages: FastAPI, address: Mapping[str, str], route: tuple[str, str]
) -> None:
    method, path = route
    answer = visitor(pages).request(method, path.format(**address))
    if method == "GET":
        assert (answer.status_code, answer.headers["location"][:7]) == (303, "/login?")
    else:
        assert answer.status_code == 401


@pytest.mark.parametrize("route", POSTS, ids=" ".join)
@pytest.mark.parametrize(
    ("token", "origin"),
    [("", ""), ("0" * 64, ""), (None, "http://evil.example"), (None, "http://127.0.0.1:1")],
    ids=["no token", "a wrong token", "another site", "another port"],
)
def test_a_forged_form_is_refused_whatever_the_role(
    browsers: Mapping[Role, TestClient],
    address: Mapping[str, str],
    route: tuple[str, str],
    token: str | None,
    origin: str,
) -> None:
    browser = browsers[Role.ADMINISTRATOR]
    given = token_of(browser) if token is None else token
    headers = {"Origin": origin} if origin else {}
    path = route[1].format(**address)
    answer = browser.post(path, data={"csrf_token": given}, headers=headers)
    assert answer.status_code == 403


def test_what_is_refused_is_in_the_audit_log(
    site: Site, browsers: Mapping[Role, TestClient]
) -> None:
    assert browsers[Role.VIEWER].get("/desk/audit").status_code == 403
    with site.database.read() as c:
        (event,) = audit.newest(c, 1, event="request refused")
    assert (event.detail["account"], event.detail["path"]) == ("viewer", "/desk/audit")


def test_navigation_leads_only_where_a_role_may_go(browsers: Mapping[Role, TestClient]) -> None:
    for role, browser in browsers.items():
        page = browser.get("/desk/queue").text
        for (method, path), least in LEAST.items():
            if method == "GET" and path.count("/") == 2:
                assert (f'<li><a href="{path}"' in page) == role.includes(least), (role, path)


def test_pictures_are_not_for_viewers_and_releases_not_for_reviewers() -> None:
    assert not may(Role.VIEWER, Permission.SEE_PICTURES)
    assert not may(Role.REVIEWER, Permission.RELEASE)
    assert may(Role.STEWARD, Permission.RELEASE)


def test_every_permission_has_a_role_and_nobody_has_less_than_who_is_below() -> None:
    assert set(LEAST_ROLE) == set(Permission)
    for permission in Permission:
        allowed = [may(role, permission) for role in Role]
        assert allowed == sorted(allowed)
        assert allowed[-1]


def test_the_files_of_the_desk_need_no_login(pages: FastAPI, tmp_path: Path) -> None:
    answer = visitor(pages).get("/desk/static/desk.css")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
