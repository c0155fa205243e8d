"""Every path of the API and every role: the roles are those of the desk, and none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.testclient import TestClient

from dicomnode.domain import Role
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.tracking import accounts, api_tokens
from dicomnode.web.api.application import make_api
from dicomnode.web.identity import Identity
from tests.desk_site import ORIGIN, make_site

# The least role of each route; whoever adds one has to say here who may ask for it.
LEAST: Mapping[tuple[str, str], Role] = {
    ("GET", "/studies/{study_uid}"): Role.VIEWER,
    ("GET", "/projects"): Role.VIEWER,
    ("GET", "/projects/{project}"): Role.VIEWER,
    ("GET", "/projects/{project}/decisions/{study_uid}"): Role.VIEWER,
    ("POST", "/projects/{project}/decisions"): Role.VIEWER,
    ("POST", "/projects/{project}/files"): Role.VIEWER,
    ("GET", "/receipts/public-key"): Role.VIEWER,
    ("GET", "/receipts"): Role.STEWARD,
    ("GET", "/receipts/{number}"): Role.STEWARD,
    ("POST", "/projects/{project}/receipts"): Role.STEWARD,
}
ADDRESS = {"study_uid": "1.2.3", "project": "default", "number": "1"}
SENT: Mapping[str, object] = {
    "decisions": {"studies": ["1.2.3"]},
    "files": {"files": [{"sop_instance_uid": "1.2.3", "sha256": "0" * 64}]},
    "receipts": {"study_instance_uid": "1.2.3"},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    site = make_site(tmp_path_factory.mktemp("api"))
    identity = Identity(site.settings.web, site.database)
    yield make_api(site.settings, identity, ExaminerInUse(site.settings))
    site.database.close()


@pytest.fixture(scope="module")
def programs(api: FastAPI) -> Mapping[Role, TestClient]:
    found = {}
    for role in Role:
        with api.state.door.database.begin() as c:
            owner = accounts.create(c, role.value, role)
            token = api_tokens.create(c, owner, "a test", role)[1]
        headers = {"Authorization": f"Bearer {token}"}
        found[role] = TestClient(api, base_url=ORIGIN, headers=headers)
    return found


def test_no_route_is_forgotten(api: FastAPI) -> None:
    routes = {
        (method, context.path)
        for context in iter_route_contexts(api.routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    }
    assert routes == set(LEAST)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("route", LEAST, ids=" ".join)
def test_a_role_is_answered_or_refused(
    programs: Mapping[Role, TestClient], route: tuple[str, str], role: Role
) -> None:
    method, path = route
    sent = SENT[path.rpartition("/")[2]] if method == "POST" else None
    status = programs[role].request(method, path.format(**ADDRESS), json=sent).status_code
    if role.includes(LEAST[route]):
        assert status in (200, 404)
    else:
        assert status == 403
