"""Every parameter of every address of desk and API, with what no honest client writes into it.

The answer is a refusal in words; never an error of the server, a file, or more than was there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.testclient import TestClient

from dicomnode.domain import Role, VerdictKind
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.tracking import accounts, api_tokens
from dicomnode.web.api.application import make_api
from dicomnode.web.identity import Identity
from tests.desk_site import ORIGIN, Site, make_site, pages_of, visitor

SECRET = "root:x:0:0"  # the first line of /etc/passwd
EVIL = {
    "climbs": "../../../../etc/passwd",
    "climbs, encoded twice": "..%2f..%2f..%2fetc%2fpasswd",
    "cut by a zero": "1.2.3\0.png",
    "SQL, or true": "1' OR '1'='1",
    "SQL, a second statement": "1'; DROP TABLE series; --",
    "a template": "{{7*7}}${7*7}",
    "HTML": "<script>alert(1)</script>",
    "a header": "1.2.3\r\nSet-Cookie: a=b",
    "a number beyond": str(2**63),
    "half a pair": "1.2.3\udcff",
    "long": "1." * 5000,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = make_site(tmp_path_factory.mktemp("parameters"), desk="show_patient_names = true")
    made.add_account("root", Role.ADMINISTRATOR)
    made.add("held", "T1", VerdictKind.FACE_VISIBLE)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def clients(site: Site) -> Mapping[str, TestClient]:
    """A person and a program that may ask for anything."""
    with site.database.begin() as c:
        owner = accounts.create(c, "program", Role.STEWARD)
        token = api_tokens.create(c, owner, "a test", Role.STEWARD)[1]
    identity = Identity(site.settings.web, site.database)
    api = make_api(site.settings, identity, ExaminerInUse(site.settings))
    bearer = {"Authorization": f"Bearer {token}"}
    return {
        "desk": quiet(visitor(pages_of(site), "root")),
        "api": quiet(TestClient(api, base_url=ORIGIN, headers=bearer)),
    }


def quiet(client: TestClient) -> TestClient:
    """An error of the server is an answer here too."""
    client._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
    return client


def addresses(client: TestClient) -> Iterator[tuple[str, list[str]]]:
    """Each address that is asked for with GET, and the fields of its query."""
    for context in iter_route_contexts(client.app.routes):  # type: ignore[attr-defined]
        route = context.original_route
        if isinstance(route, APIRoute) and "GET" in (context.methods or ()):
            yield context.path, [field.alias for field in route.dependant.query_params]


def filled(address: str, evil_place: str = "", value: str = "") -> str:
    """The address with "1" in its places, and `value` in one of them."""

    def in_place(found: re.Match[str]) -> str:
        return encoded(value) if found[1] == evil_place else "1"

    return re.sub(r"\{(\w+)[^}]*\}", in_place, address)


def encoded(value: str) -> str:
    return quote(value.encode("utf-8", "surrogateescape"), safe="")


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize(("door", "places"), [("desk", 7), ("api", 4)])
def test_it_is_refused_in_every_place_of_every_address(
    door: str, places: int, name: str, clients: Mapping[str, TestClient], site: Site
) -> None:
    before, asked = rows(site), 0
    for address, _ in addresses(clients[door]):
        for place in re.findall(r"\{(\w+)", address):
            path = filled(address, place, EVIL[name])
            check(clients[door].get(path), path)
            asked += 1
    assert asked >= places
    assert rows(site) == before


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize(("door", "fields"), [("desk", 7), ("api", 2)])
def test_it_is_refused_in_every_field_of_a_query(
    door: str, fields: int, name: str, clients: Mapping[str, TestClient]
) -> None:
    asked = 0
    for address, names in addresses(clients[door]):
        for field in names:
            path = f"{filled(address)}?{field}={encoded(EVIL[name])}"
            check(clients[door].get(path), path)
            asked += 1
    assert asked >= fields


@pytest.mark.parametrize("name", EVIL)
def test_it_is_refused_in_the_body_of_a_question(
    name: str, clients: Mapping[str, TestClient]
) -> None:
    value = EVIL[name].encode("utf-8", "replace").decode()
    for path, body in (
        ("/projects/default/decisions", {"studies": [value]}),
        ("/projects/default/receipts", {"study_instance_uid": value}),
        ("/projects/default/files", {"files": [{"sop_instance_uid": value, "sha256": value}]}),
    ):
        check(clients["api"].post(path, json=body), path)


def check(answer: object, where: str) -> None:
    status, text = answer.status_code, answer.text  # type: ignore[attr-defined]
    assert status < 500, (where, text[:500])
    assert "set-cookie" not in {name.lower() for name in answer.headers}, where  # type: ignore[attr-defined]
    for said in (SECRET, "<script>alert", "password_hash\n", "Traceback", "sqlite3", "49$49"):
        assert said not in text, where
    if '"decision"' in text:
        assert '"release"' not in text, where


def rows(site: Site) -> dict[str, int]:
    with site.database.read() as c:
        return {
            table: c.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("series", "accounts", "receipts")
        }


def test_no_parameter_became_a_file(site: Site) -> None:
    assert not list(site.settings.node.data_folder.rglob("*passwd*"))
