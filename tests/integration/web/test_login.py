"""People log in to the HTTP role, as its own process: on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from dicomnode.app.checkup import desk as check_desk
from dicomnode.config import Settings
from dicomnode.domain import Role
from dicomnode.errors import ConfigurationError, DatabaseError
from dicomnode.tracking import accounts, audit
from dicomnode.tracking.database import Database
from dicomnode.tracking.gate_schema import logins
from dicomnode.web.identity import csrf_token
from dicomnode.web.server import serve
from tests.databases import *  # noqa: F403
from tests.integration.web.desk import (
    behind_a_proxy,
    browser,
    database_for,
    desk_settings,
    log_in,
    make_account,
    origin,
    running_desk,
)

COOKIE = "dicomnode"


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)]
)
def settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """One role for all tests; none of them leaves anna as it must not."""
    folder = tmp_path_factory.mktemp("desk")
    with database_for(request, folder) as url:
        made = desk_settings(folder, url)
        make_account(made, "anna", Role.STEWARD)
        with running_desk(made, folder):
            yield made


def log_out(client: httpx.Client) -> httpx.Response:
    token = csrf_token(client.cookies.get(COOKIE, ""))
    return client.post("/logout", data={"csrf_token": token})


def test_a_person_logs_in_and_out(settings: Settings) -> None:
    with browser(settings) as client:
        answer = log_in(client, "anna", next_="/studies?state=held")
        assert (answer.status_code, answer.headers["location"]) == (303, "/studies?state=held")
        cookie = answer.headers["set-cookie"].lower()
        assert {"httponly", "path=/", "samesite=lax"} <= set(cookie.replace(" ", "").split(";"))
        kept = client.cookies[COOKIE]
        answer = log_out(client)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert COOKIE not in client.cookies
        # A copy of the cookie opens nothing now.
        client.cookies.set(COOKIE, kept)
        assert log_out(client).status_code == 401
    with Database(settings.database_url).read() as c:
        assert [one.event for one in audit.newest(c, subject="anna")][:2] == ["logout", "login"]


@pytest.mark.parametrize(
    ("name", "password"),
    [("anna", "wrong"), ("nobody", "a long pass phrase"), ("", ""), ("../etc", "x" * 100_000)],
)
def test_what_was_wrong_is_not_told(settings: Settings, name: str, password: str) -> None:
    with browser(settings) as client:
        answer = log_in(client, name, password)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?refused=1&next=%2F"
    assert "set-cookie" not in answer.headers
    assert answer.content == b""


def test_a_form_of_another_site_is_refused(settings: Settings) -> None:
    with browser(settings) as client:
        log_in(client, "anna")
        token = csrf_token(client.cookies[COOKIE])
        strangers = (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": f"http://127.0.0.1:{settings.web.port + 1}"},
            {"Origin": origin(settings), "Sec-Fetch-Site": "cross-site"},
            {"Origin": origin(settings), "Sec-Fetch-Site": "same-site"},
            {"Origin": ""},
        )
        for headers in strangers:
            for path in ("/logout", "/login"):
                answer = client.post(path, data={"csrf_token": token}, headers=headers)
                assert answer.status_code == 403, (path, headers)
        del client.headers["Origin"]
        assert client.post("/logout", data={"csrf_token": token}).status_code == 403
    with Database(settings.database_url).read() as c:
        assert len(audit.newest(c, event="request refused")) >= 2 * len(strangers) + 1


@pytest.mark.parametrize("given", ["", "0" * 64, "\u00e4"])
def test_a_form_without_the_token_of_its_login_is_refused(settings: Settings, given: str) -> None:
    with browser(settings) as client:
        log_in(client, "anna")
        assert client.post("/logout", data={"csrf_token": given}).status_code == 403
        assert client.post("/logout").status_code == 403
        assert log_out(client).status_code == 303


def test_the_token_of_another_login_is_refused(settings: Settings) -> None:
    with browser(settings) as one, browser(settings) as other:
        log_in(one, "anna")
        log_in(other, "anna")
        token = csrf_token(other.cookies[COOKIE])
        assert one.post("/logout", data={"csrf_token": token}).status_code == 403


def test_a_login_chosen_by_a_stranger_is_not_taken(settings: Settings) -> None:
    with browser(settings) as client:
        client.cookies.set(COOKIE, "chosen-by-a-stranger")
        answer = log_in(client, "anna")
        assert answer.cookies[COOKIE] != "chosen-by-a-stranger"


def test_logging_in_again_ends_the_earlier_login(settings: Settings) -> None:
    with browser(settings) as client:
        log_in(client, "anna")
        earlier = client.cookies[COOKIE]
        log_in(client, "anna")
        assert client.cookies[COOKIE] != earlier
        client.cookies.delete(COOKIE)
        client.cookies.set(COOKIE, earlier)
        assert log_out(client).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
        " //evil.example",
        "/" + "x" * 600,
    ],
)
def test_a_login_leads_to_no_other_site(settings: Settings, path: str) -> None:
    with browser(settings) as client:
        answer = log_in(client, "anna", next_=path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "a=b" not in str(answer.headers)


def test_an_expired_login_and_one_of_a_disabled_account_open_nothing(settings: Settings) -> None:
    database = Database(settings.database_url)
    make_account(settings, "bob", Role.VIEWER)
    with browser(settings) as client:
        log_in(client, "bob")
        long_ago = datetime.now(UTC) - timedelta(minutes=31)
        with database.begin() as c:
            c.execute(sa.update(logins).values(last_seen_at=long_ago))
        assert log_out(client).status_code == 401
        log_in(client, "bob")
        with database.begin() as c:
            accounts.set_enabled(c, "bob", False)
        assert log_out(client).status_code == 401
        assert log_in(client, "bob").headers["location"].startswith("/login?refused")


def test_every_answer_tells_browsers_to_be_careful(settings: Settings) -> None:
    with browser(settings) as client:
        for answer in (client.get("/nothing"), log_in(client, "anna"), client.post("/login")):
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "same-origin"


def test_a_name_that_leads_to_loopback_is_not_ours(settings: Settings) -> None:
    with browser(settings) as client:
        for host in ("evil.example", f"evil.example:{settings.web.port}", "", "[", "127.0.0.1.nip"):
            answer = client.post("/login", headers={"Host": host, "Origin": f"http://{host}"})
            assert answer.status_code == 421, host
        assert client.post("/login", headers={"Host": "localhost:8080"}).status_code == 403


def test_a_long_form_is_refused_before_it_is_read(settings: Settings) -> None:
    with browser(settings) as client:
        assert log_in(client, "anna", "x" * 300_000).status_code == 413
        many = {f"field{number}": "x" for number in range(2000)}
        assert client.post("/login", data=many).status_code == 400


def test_guessing_is_slowed_down_for_each_address_and_account(tmp_path: Path) -> None:
    web = behind_a_proxy(tmp_path) | {"logins_per_minute": 3}
    settings = desk_settings(tmp_path, web=web)
    make_account(settings, "anna", Role.VIEWER)
    with running_desk(settings, tmp_path), browser(settings) as client:
        client.headers["X-Forwarded-For"] = "192.0.2.1"
        codes = [log_in(client, f"name{number}").status_code for number in range(4)]
        assert codes == [303, 303, 303, 429]
        for number in range(3):
            client.headers["X-Forwarded-For"] = f"198.51.100.1, 192.0.2.{10 + number}"
            assert log_in(client, "ANNA ", "wrong").status_code == 303
        client.headers["X-Forwarded-For"] = "192.0.2.99"
        answer = log_in(client, "anna")
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_flood_of_forged_forms_does_not_fill_the_audit_log(tmp_path: Path) -> None:
    settings = desk_settings(tmp_path)
    make_account(settings, "anna", Role.VIEWER)
    with running_desk(settings, tmp_path) as node, browser(settings) as client:
        client.headers["Origin"] = "https://evil.example"
        assert {log_in(client, "anna").status_code for _ in range(100)} == {403}
        assert 60 <= len(node.events("request refused")) < 75


def test_the_address_is_what_the_trusted_proxy_wrote_last(tmp_path: Path) -> None:
    settings = desk_settings(tmp_path, web=behind_a_proxy(tmp_path))
    make_account(settings, "anna", Role.VIEWER)
    with running_desk(settings, tmp_path) as node, browser(settings) as client:
        for told in (
            [("X-Forwarded-For", "203.0.113.9, 192.0.2.1")],
            [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1")],
        ):
            client.post("/login", data={"name": "anna"}, headers=told)
        addresses = [event.detail["address"] for event in node.events("login refused")]
    assert addresses == ["192.0.2.1", "192.0.2.1"]


def test_without_an_account_nobody_is_answered(tmp_path: Path) -> None:
    settings = desk_settings(tmp_path)
    with running_desk(settings, tmp_path), browser(settings) as client:
        for path in ("/", "/login", "/studies"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "dicomnode accounts add" in answer.text
        assert log_in(client, "anna").status_code == 503
        assert client.get("/health").status_code == 200
        make_account(settings, "anna", Role.VIEWER)
        assert log_in(client, "anna").status_code == 303


def test_check_says_that_an_account_is_missing(tmp_path: Path) -> None:
    settings = desk_settings(tmp_path, web={"enabled": True})
    with pytest.raises(DatabaseError, match="no such database yet"):
        list(check_desk(settings))
    settings.node.data_folder.mkdir()
    Database(settings.database_url).migrate()
    (missing,) = check_desk(settings)
    assert (missing.ok, "dicomnode accounts add" in missing.sentence) == (False, True)
    make_account(settings, "anna", Role.VIEWER)
    assert [found.ok for found in check_desk(settings)] == [True]


def test_other_machines_reach_it_only_when_there_is_an_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    web = {
        "host": "0.0.0.0",
        "token_file": tmp_path / "token",
        "public_url": "https://gate.example",
    }
    settings = desk_settings(tmp_path, web=web)
    with pytest.raises(ConfigurationError, match="dicomnode accounts add"):
        serve(settings, ready=lambda: None, stop=None)  # type: ignore[arg-type]


def test_behind_tls_the_cookie_is_for_this_host_and_tls_only(tmp_path: Path) -> None:
    web = behind_a_proxy(tmp_path) | {"public_url": "https://gate.example"}
    settings = desk_settings(tmp_path, web=web)
    make_account(settings, "anna", Role.VIEWER)
    with running_desk(settings, tmp_path), browser(settings) as client:
        client.headers["Origin"] = "https://gate.example"
        client.headers["Host"] = "gate.example"
        answer = log_in(client, "anna")
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == "__Host-dicomnode"
        assert "secure" in rest.lower()
        assert "domain" not in rest.lower()
        assert answer.headers["strict-transport-security"]
        client.headers["Origin"] = origin(settings)
        assert log_in(client, "anna").status_code == 403
