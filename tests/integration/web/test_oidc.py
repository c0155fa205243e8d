"""Logging in at an OpenID provider: a real one on loopback, and one that lies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey

from dicomnode.config import Settings
from dicomnode.domain import Role
from dicomnode.tracking import accounts, audit
from dicomnode.tracking.accounts import Account
from dicomnode.tracking.database import Database
from tests.integration.web.desk import browser, desk_settings, log_in, make_account, running_desk
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIDProvider, openid_provider

COOKIE, STATE_COOKIE = "dicomnode", "dicomnode-oidc"


@dataclass(frozen=True)
class Site:
    settings: Settings
    provider: OpenIDProvider

    def account(self, name: str) -> Account | None:
        database = Database(self.settings.database_url)
        with database.read() as c:
            found = accounts.by_name(c, name)
        database.close()
        return found


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("oidc")
    (folder / "secret").write_text(CLIENT_SECRET)
    with openid_provider() as provider:
        oidc = {
            "issuer": provider.issuer,
            "client_id": CLIENT_ID,
            "client_secret_file": folder / "secret",
            "roles": {"stewards": "steward", "staff": "viewer"},
            "timeout_seconds": 5.0,
        }
        settings = desk_settings(folder, web={"oidc": oidc})
        with running_desk(settings, folder):
            yield Site(settings, provider)


@pytest.fixture
def site(shared_site: Site, tmp_path: Path) -> Iterator[Site]:
    """A person of its own for each test."""
    provider, name = shared_site.provider, tmp_path.name.lower()[:40]
    provider.person = {"sub": f"sub-{name}", "preferred_username": name, "groups": ["staff"]}
    yield shared_site
    provider.claims, provider.document = {}, {}
    provider.sign_with, provider.unsigned = None, False


def go(client: httpx.Client, path: str = "/studies") -> str:
    """To the provider and back: the address that the browser comes back to."""
    begun = client.get("/login/oidc", params={"next": path})
    assert begun.status_code == 303, begun.text
    return httpx.get(begun.headers["location"]).headers["location"]


def test_a_person_logs_in_elsewhere_and_gets_an_account(site: Site) -> None:
    name = site.provider.person["preferred_username"]
    with browser(site.settings) as client:
        answer = client.get(go(client))
        assert (answer.status_code, answer.headers["location"]) == (303, "/studies")
        assert client.cookies[COOKIE]
        assert STATE_COOKIE not in client.cookies
    made = site.account(name)
    assert made is not None
    assert (made.role, made.has_password) == (Role.VIEWER, False)
    assert made.oidc_subject == f"{site.provider.issuer} {site.provider.person['sub']}"


def test_a_new_role_there_is_one_here_at_the_next_login(site: Site) -> None:
    name = site.provider.person["preferred_username"]
    with browser(site.settings) as client:
        client.get(go(client))
        site.provider.person |= {"groups": ["staff", "stewards"], "preferred_username": "renamed"}
        assert client.get(go(client)).status_code == 303
    found = site.account(name)
    assert found is not None
    assert found.role is Role.STEWARD
    assert site.account("renamed") is None


def test_a_local_account_of_the_same_name_stays_its_owners(site: Site) -> None:
    name = site.provider.person["preferred_username"]
    make_account(site.settings, name, Role.ADMINISTRATOR)
    site.provider.person["sub"] = "Not A Name!"
    with browser(site.settings) as client:
        answer = client.get(go(client))
        assert answer.status_code == 403
        assert COOKIE not in client.cookies
        assert log_in(client, name).headers["location"] == "/"
    kept = site.account(name)
    assert kept is not None
    assert (kept.role, kept.oidc_subject) == (Role.ADMINISTRATOR, None)


def test_who_has_no_group_of_ours_is_refused(site: Site) -> None:
    for groups in ([], ["others"], None, "other", {"staff": 1}, [["staff"]]):
        site.provider.person["groups"] = groups
        with browser(site.settings) as client:
            answer = client.get(go(client))
            assert answer.status_code == 403, groups
            assert COOKIE not in client.cookies
    assert site.account(site.provider.person["preferred_username"]) is None


def test_a_disabled_account_is_refused(site: Site) -> None:
    name = site.provider.person["preferred_username"]
    with browser(site.settings) as client:
        client.get(go(client))
        client.cookies.clear()
        with Database(site.settings.database_url).begin() as c:
            accounts.set_enabled(c, name, False)
        assert client.get(go(client)).status_code == 403
        assert COOKIE not in client.cookies


def lies(provider: OpenIDProvider) -> dict[str, dict[str, Any]]:
    past = int(time.time()) - 3600
    return {
        "of another issuer": {"iss": "https://evil.example"},
        "for another client": {"aud": "another"},
        "made for another client": {"aud": [CLIENT_ID, "another"], "azp": "another"},
        "expired": {"exp": past},
        "without an end": {"exp": None},
        "of another login": {"nonce": "another"},
        "without a nonce": {"nonce": None},
        "of nobody": {"sub": None},
    }


@pytest.mark.parametrize("lie", lies(OpenIDProvider()))
def test_an_id_token_that_is_wrong_logs_nobody_in(site: Site, lie: str) -> None:
    site.provider.claims = lies(site.provider)[lie]
    with browser(site.settings) as client:
        answer = client.get(go(client))
        assert answer.status_code == 502
        assert COOKIE not in client.cookies


@pytest.mark.parametrize("how", ["another key", "none"])
def test_an_id_token_that_the_provider_did_not_sign_logs_nobody_in(site: Site, how: str) -> None:
    site.provider.unsigned = how == "none"
    site.provider.sign_with = RSAKey.generate_key(2048, {"kid": "1"})
    with browser(site.settings) as client:
        assert client.get(go(client)).status_code == 502
        assert COOKIE not in client.cookies


def test_the_way_back_is_for_the_browser_that_left(site: Site) -> None:
    with browser(site.settings) as victim, browser(site.settings) as attacker:
        back = go(attacker)
        assert victim.get(back).status_code == 403
        go(victim)
        assert victim.get(back).status_code == 403
        assert COOKIE not in victim.cookies
        assert victim.get("/login/oidc/callback").status_code == 403
        assert victim.get("/login/oidc/callback?state=&code=x").status_code == 403
    with Database(site.settings.database_url).read() as c:
        assert len(audit.newest(c, event="request refused")) >= 4


def test_a_way_back_is_taken_once(site: Site) -> None:
    with browser(site.settings) as client:
        back = go(client)
        state = client.cookies[STATE_COOKIE]
        assert client.get(back).status_code == 303
        client.cookies.clear()
        client.cookies.set(STATE_COOKIE, state)
        assert client.get(back).status_code == 403


def test_it_leads_to_no_other_site(site: Site) -> None:
    with browser(site.settings) as client:
        assert client.get(go(client, "//evil.example/")).headers["location"] == "/"


@pytest.mark.parametrize(
    "document", [{"issuer": "https://evil.example"}, {"token_endpoint": None, "jwks_uri": None}]
)
def test_a_document_of_another_issuer_or_none_begins_nothing(
    site: Site, document: dict[str, Any]
) -> None:
    site.provider.document = document
    with browser(site.settings) as client:
        begun = client.get("/login/oidc")
        if begun.status_code == 303:
            begun = client.get(httpx.get(begun.headers["location"]).headers["location"])
    assert begun.status_code == 502
    assert "evil" not in begun.text


def test_a_provider_that_is_away_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CLIENT_SECRET)
    oidc = {
        "issuer": "http://127.0.0.1:1",
        "client_id": CLIENT_ID,
        "client_secret_file": tmp_path / "secret",
        "roles": {"staff": "viewer"},
    }
    settings = desk_settings(tmp_path, web={"oidc": oidc})
    with running_desk(settings, tmp_path), browser(settings) as client:
        assert client.get("/login/oidc").status_code == 502
