"""The HTTP door of the gate, as its own process: on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter
from pydicom import dcmread

from dicomnode.config import Settings
from dicomnode.domain import Role
from dicomnode.gate import keys, receipt
from dicomnode.gate.receipt import Person
from dicomnode.gate.verification import verify
from dicomnode.inference.examiner import installed_examiner
from dicomnode.inference.models import STARTER_FOLDER
from dicomnode.tracking import accounts, api_tokens, audit
from dicomnode.tracking.database import Database
from dicomnode.tracking.schema import instances
from dicomnode.web.api.values import IssuedReceipt, SignedDocument
from tests.databases import *  # noqa: F403
from tests.integration.web.desk import (
    database_for,
    desk_settings,
    make_account,
    make_token,
    origin,
    running_desk,
)
from tests.unit.gate.released import Study, examined_study
from tests.unit.tracking.rows import EVIDENCE


@dataclass(frozen=True)
class Site:
    """A running role with one study that may leave and one that may not."""

    settings: Settings
    folder: Path
    database: Database
    released: Study
    held: Study

    def client(self, role: Role = Role.VIEWER) -> httpx.Client:
        token = make_token(self.settings, f"robot-{role}", role)
        return self.client_with(token)

    def client_with(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        base = f"{origin(self.settings)}/api/v1"
        return httpx.Client(base_url=base, headers=headers, timeout=60)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)]
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("api")
    keys.generate(folder / "key")
    shutil.copytree(STARTER_FOLDER, folder / "models", ignore=shutil.ignore_patterns("*.pth"))
    with database_for(request, folder) as url:
        settings = desk_settings(
            folder,
            url,
            web={"api_requests_per_minute": 10_000},
            gate={"key_file": folder / "key"},
            projects={"cohort-7": {"persons_needed": 2}},
            inference={"models_folder": folder / "models"},
        )
        make_account(settings, "anna", Role.ADMINISTRATOR)
        digest = installed_examiner(settings).wanted_digest([EVIDENCE.subject])
        database = Database(settings.database_url)
        released = examined_study(database, folder, "released", digest)
        held = examined_study(database, folder, "held", "older")
        with running_desk(settings, folder):
            yield Site(settings, folder, database, released, held)
        database.close()


def decision_path(study_uid: str, project: str = "default") -> str:
    return f"/projects/{project}/decisions/{study_uid}"


def test_a_study_is_released_or_held_with_every_reason(site: Site) -> None:
    with site.client() as client:
        released = client.get(decision_path(site.released.uid)).json()
        assert (released["outcome"], len(released["reasons"])) == ("release", 2)
        held = client.get(decision_path(site.held.uid, "cohort-7")).json()
        assert (held["outcome"], len(held["reasons"])) == ("hold", 2)
        assert "reexamine" in held["reasons"][0]
        assert client.get(decision_path("1.2.3")).json()["outcome"] == "unknown_study"


def test_a_project_that_is_not_configured_holds_everything(site: Site) -> None:
    with site.client() as client:
        answer = client.get(decision_path(site.released.uid, "other"))
        assert answer.json()["outcome"] == "hold"
        assert "there is no project 'other'" in answer.json()["reasons"][0]
        assert client.get("/projects/other").status_code == 404
        assert client.get("/projects").json() == {"projects": ["default", "cohort-7"]}
        policy = client.get("/projects/cohort-7").json()
    assert policy["rules"]["persons_needed"] == 2
    assert "key_file" not in json.dumps(policy)


def test_what_is_known_of_a_study_names_no_patient(site: Site) -> None:
    with site.client() as client:
        answer = client.get(f"/studies/{site.released.uid}")
        assert answer.json()["verdict"] == "DEFACED"
        assert len(answer.json()["series"]) == 2
        patient = str(dcmread(site.released.files[0]).PatientID)
        assert patient
        assert patient not in answer.text
        assert client.get("/studies/1.2.3").status_code == 404
        assert answer.headers["cache-control"] == "no-store"


def test_a_list_is_answered_line_by_line_and_says_that_it_is_whole(site: Site) -> None:
    uids = [site.released.uid, "1.2.3", site.held.uid, "1.2.3", *(f"1.9.{n}" for n in range(700))]
    with site.client() as client:
        answer = client.post("/projects/default/decisions", json={"studies": uids})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    *decisions, end = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["study_instance_uid"] for one in decisions] == list(dict.fromkeys(uids))
    assert [one["outcome"] for one in decisions[:3]] == ["release", "unknown_study", "hold"]
    assert end == {"complete": True, "release": 1, "hold": 1, "unknown_study": 701}


def test_a_token_has_one_list_at_a_time(site: Site) -> None:
    uids = [f"1.9.{number}" for number in range(10_000)]
    token = make_token(site.settings, "lists", Role.VIEWER)
    path = "/projects/default/decisions"
    with site.client_with(token) as one, site.client_with(token) as other:
        with one.stream("POST", path, json={"studies": uids}) as answer:
            pieces = answer.iter_raw(100)
            assert next(pieces)
            refused = other.post(path, json={"studies": ["1.2"]})
            assert refused.status_code == 429, refused.text
            assert refused.headers["retry-after"] == "10"
            assert refused.json()["title"] == "Too Many Requests"
        # It left in the middle, which ends its list.
        deadline = time.monotonic() + 20
        while other.post(path, json={"studies": ["1.2"]}).status_code == 429:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_release_is_signed_for_a_steward_and_proven_with_the_public_key(site: Site) -> None:
    with site.client(Role.STEWARD) as client:
        sent = {"study_instance_uid": site.released.uid, "note": "asked for by the trial"}
        issued = client.post("/projects/cohort-7/receipts", json=sent)
        assert issued.status_code == 200, issued.text
        number = issued.json()["receipt"]["number"]
        document = client.get(f"/receipts/{number}")
        pem = client.get("/receipts/public-key").content
        listed = client.get("/receipts", params={"study": site.released.uid}).json()
    (site.folder / "elsewhere.pub").write_bytes(pem)
    # What is documented is what is sent.
    TypeAdapter(SignedDocument).validate_json(document.content)
    TypeAdapter(IssuedReceipt).validate_json(issued.content)
    assert document.text in issued.text
    signed = receipt.read(document.content, "from HTTP")
    assert json.loads(document.content) == issued.json()["receipt"]
    found = verify([signed], keys.public_key(site.folder / "elsewhere.pub"), site.released.files)
    assert (found.is_proven, found.missing) == (True, ())
    assert listed["receipts"][0]["number"] == number
    assert signed.receipt.by == Person("robot-steward", "asked for by the trial")
    with site.database.read() as c:
        (asked,) = audit.newest(c, 1, event="receipt asked for")
    assert (asked.subject, asked.detail["account"]) == (site.released.uid, "robot-steward")


def test_a_held_study_gets_no_receipt(site: Site) -> None:
    with site.client(Role.STEWARD) as client:
        before = client.get("/receipts").json()["receipts"]
        sent = {"study_instance_uid": site.held.uid}
        answer = client.post("/projects/default/receipts", json=sent).json()
        assert (answer["decision"]["outcome"], answer["receipt"]) == ("hold", None)
        assert client.get("/receipts").json()["receipts"] == before


@pytest.mark.parametrize("role", [Role.VIEWER, Role.REVIEWER])
def test_who_is_no_steward_gets_no_receipt(site: Site, role: Role) -> None:
    with site.client(role) as client:
        sent = {"study_instance_uid": site.released.uid}
        answer = client.post("/projects/default/receipts", json=sent)
    assert answer.status_code == 403
    sentence = f"this needs the role steward; the token acts as {role}"
    assert answer.json()["detail"] == sentence
    with site.database.read() as c:
        (refused, *_) = audit.newest(c, event="request refused")
    assert (refused.detail["account"], refused.detail["sentence"]) == (f"robot-{role}", sentence)


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    settings = desk_settings(tmp_path)
    make_account(settings, "anna", Role.VIEWER)
    token = make_token(settings, "anna", Role.VIEWER)
    database = Database(settings.database_url)
    with running_desk(settings, tmp_path):
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{origin(settings)}/api/v1/projects"
        assert httpx.get(url, headers=headers).status_code == 200
        with database.begin() as c:
            c.execute(sa.text("ALTER TABLE api_tokens RENAME TO gone"))
        answer = httpx.get(url, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (503, "the database is away")


def test_receipts_are_paged(site: Site) -> None:
    with site.client(Role.STEWARD) as client:
        for project in ("default", "cohort-7", "default"):
            sent = {"study_instance_uid": site.released.uid}
            client.post(f"/projects/{project}/receipts", json=sent)
        every = client.get("/receipts").json()
        assert every["next_before"] is None
        paged, before = [], None
        while True:
            params = {"limit": 1} | ({"before": before} if before else {})
            page = client.get("/receipts", params=params).json()
            paged += page["receipts"]
            before = page["next_before"]
            if before is None:
                break
    assert paged == every["receipts"]
    assert len(paged) >= 2


def named(path: Path) -> dict[str, str]:
    return {
        "sop_instance_uid": str(dcmread(path).SOPInstanceUID),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def test_files_leave_only_if_each_of_them_was_received(site: Site) -> None:
    files = [named(path) for path in site.released.files]
    changed = files[0] | {"sha256": "0" * 64}
    unknown = files[0] | {"sop_instance_uid": "1.2.3"}
    held = [named(path) for path in site.held.files]

    def outcome(sent: list[dict[str, str]], project: str = "default") -> tuple[str, list[str]]:
        answer = client.post(f"/projects/{project}/files", json={"files": sent})
        assert answer.status_code == 200, answer.text
        return answer.json()["outcome"], [one["state"] for one in answer.json()["files"]]

    with site.client() as client:
        assert outcome(files) == ("release", ["received"] * 8)
        assert outcome([*files, changed]) == ("hold", ["received"] * 8 + ["changed"])
        assert outcome([*files, unknown]) == ("hold", ["received"] * 8 + ["unknown"])
        assert outcome([changed]) == ("hold", ["changed"])
        assert outcome([*files, held[0]]) == ("hold", ["received"] * 9)
        assert outcome(files, "other") == ("hold", ["received"] * 8)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer dn_wrong"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer \xe9"},
    ],
)
def test_without_a_token_nothing_is_told(site: Site, header: dict[str, str]) -> None:
    paths = ["/projects", "/receipts", "/receipts/1", f"/studies/{site.released.uid}"]
    encoded = {name: value.encode("latin-1") for name, value in header.items()}
    with site.client_with("") as client:
        for path in (*paths, decision_path(site.released.uid)):
            answer = client.get(path, headers=encoded)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert site.released.uid not in answer.text
        for path in ("decisions", "files", "receipts"):
            answer = client.post(f"/projects/default/{path}", json={}, headers=encoded)
            assert answer.status_code == 401
            broken = client.post(f"/projects/default/{path}", content=b"[", headers=encoded)
            assert broken.status_code == 401
        for path in ("/nothing", "/openapi.json/", "//openapi.json", "/docs"):
            assert client.get(path, headers=encoded).status_code == 401


def test_a_login_of_a_browser_opens_no_api(site: Site) -> None:
    with httpx.Client(
        base_url=origin(site.settings), headers={"Origin": origin(site.settings)}
    ) as c:
        c.post("/login", data={"name": "anna", "password": "a long pass phrase"})
        assert c.cookies
        assert c.get("/api/v1/projects").status_code == 401


def test_revoked_ended_and_lowered_tokens_count_at_once(site: Site) -> None:
    token = make_token(site.settings, "turncoat", Role.STEWARD)
    sent = {"study_instance_uid": site.held.uid}
    with site.client_with(token) as client:
        assert client.post("/projects/default/receipts", json=sent).status_code == 200
        with site.database.begin() as c:
            accounts.set_role(c, "turncoat", Role.VIEWER)
        assert client.post("/projects/default/receipts", json=sent).status_code == 403
        assert client.get("/projects").status_code == 200
        with site.database.begin() as c:
            accounts.set_enabled(c, "turncoat", False)
        assert client.get("/projects").status_code == 401
        with site.database.begin() as c:
            accounts.set_enabled(c, "turncoat", True)
            (row,) = api_tokens.every(c, "turncoat")
            api_tokens.revoke(c, row.id)
        assert client.get("/projects").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/studies/../../etc/passwd",
        "/studies/..%2f..%2fetc%2fpasswd",
        "/studies/1.2.3%00",
        "/studies/1.2.3'%20OR%201=1",
        "/studies/" + "1" * 65,
        "/studies/%0d%0aSet-Cookie:a=b",
        "/projects/..%2f..%2fdefault",
        "/projects/Default",
        "/projects/default/decisions/x",
        "/receipts/0",
        "/receipts/-1",
        "/receipts/99999999999999999999",
        "/receipts/1%2e",
        "/receipts?limit=100000",
        "/receipts?before=x",
        "/receipts?study=x",
    ],
)
def test_what_is_no_uid_number_or_project_is_refused(site: Site, path: str) -> None:
    with site.client(Role.STEWARD) as client:
        answer = client.get(path)
    assert answer.status_code in (404, 422), answer.text
    if answer.status_code == 422:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 422
    assert "a=b" not in str(answer.headers)
    assert "passwd" not in answer.text


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("decisions", {"studies": []}),
        ("decisions", {"studies": ["1.2"] * 10_001}),
        ("decisions", {"studies": ["x"]}),
        ("decisions", {"studies": "1.2"}),
        ("decisions", {"studies": ["1.2"], "project": "default"}),
        ("decisions", []),
        ("files", {"files": []}),
        ("files", {"files": [{"sop_instance_uid": "1.2", "sha256": "0" * 63}]}),
        ("files", {"files": [{"sop_instance_uid": "1.2", "sha256": "G" * 64}]}),
        ("files", {"files": [{"sop_instance_uid": "1.2"}]}),
        ("receipts", {}),
        ("receipts", {"study_instance_uid": "1.2", "by": "anna"}),
        ("receipts", {"study_instance_uid": None}),
        ("receipts", {"study_instance_uid": "1.2", "note": "a\nb"}),
    ],
)
def test_a_body_that_is_not_as_documented_is_refused(site: Site, path: str, sent: object) -> None:
    with site.client(Role.STEWARD) as client:
        answer = client.post(f"/projects/default/{path}", json=sent)
    assert answer.status_code == 422
    assert answer.json()["wrong"][0]["where"].startswith("body")


def test_a_long_or_broken_body_is_refused(site: Site) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"[" * 65536

    with site.client() as client:
        path = "/projects/default/decisions"
        assert client.post(path, content=b"x" * 9_000_000).status_code == 413
        assert client.post(path, content=b'{"studies": [').status_code == 422
        assert client.post(path, content=b"[" * 100_000).status_code == 422
        assert client.post(path, content=b"\xff").status_code in (400, 422)
        with suppress(httpx.TransportError):  # closed while it was still sending
            assert client.post(path, content=endless()).status_code == 413
        assert client.get("/projects").status_code == 200


def test_what_was_sent_is_not_repeated_in_a_problem(site: Site) -> None:
    with site.client() as client:
        sent = {"studies": ["DOE^JANE"]}
        answer = client.post("/projects/default/decisions", json=sent)
    assert answer.status_code == 422
    assert "DOE" not in answer.text


def test_the_document_names_every_path_and_needs_nothing_from_elsewhere(site: Site) -> None:
    with site.client_with("") as client:
        document = client.get("/openapi.json").json()
    with site.client() as client:
        assert client.get("/docs").status_code == 404
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/studies/{study_uid}",
        "/projects",
        "/projects/{project}",
        "/projects/{project}/decisions/{study_uid}",
        "/projects/{project}/decisions",
        "/projects/{project}/files",
        "/projects/{project}/receipts",
        "/receipts",
        "/receipts/public-key",
        "/receipts/{number}",
    }
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["tags"]
            assert operation["security"]
            assert {"401", "403", "422", "429", "503"} <= set(operation["responses"])
            problem = operation["responses"]["401"]["content"]["application/problem+json"]
            assert problem["schema"]["$ref"].endswith("/Problem")
    assert document["servers"] == [{"url": "/api/v1"}]


def test_other_networks_hold_from_the_moment_they_are_installed(site: Site) -> None:
    manifest = site.folder / "models" / "manifest.json"
    before = manifest.read_text()
    content = json.loads(before)
    content["models"][0]["sha256"] = "0" * 64
    with site.client() as client:
        try:
            temporary = manifest.with_suffix(".new")
            temporary.write_text(json.dumps(content))
            temporary.replace(manifest)
            assert client.get(decision_path(site.released.uid)).json()["outcome"] == "hold"
            manifest.unlink()
            answer = client.get(decision_path(site.released.uid))
            assert (answer.status_code, answer.json()["status"]) == (503, 503)
            assert str(site.folder) not in answer.text
        finally:
            manifest.write_text(before)
        assert client.get(decision_path(site.released.uid)).json()["outcome"] == "release"


def test_guessing_tokens_is_slowed_down_and_a_right_one_goes_on(tmp_path: Path) -> None:
    settings = desk_settings(tmp_path, web={"logins_per_minute": 5, "api_requests_per_minute": 3})
    make_account(settings, "anna", Role.VIEWER)
    token = make_token(settings, "anna", Role.VIEWER)
    with running_desk(settings, tmp_path) as node:
        base = f"{origin(settings)}/api/v1"
        codes = [
            httpx.get(f"{base}/projects", headers={"Authorization": f"Bearer dn_{n}"}).status_code
            for n in range(20)
        ]
        assert codes[:5] == [401] * 5
        assert codes[-10:] == [429] * 10
        right = {"Authorization": f"Bearer {token}"}
        answers = [httpx.get(f"{base}/projects", headers=right) for _ in range(4)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert len(node.events("request refused")) == 5


def test_a_changed_digest_in_the_database_gets_no_receipt(tmp_path: Path) -> None:
    keys.generate(tmp_path / "key")
    settings = desk_settings(tmp_path, gate={"key_file": tmp_path / "key"})
    token = make_token(settings, "robot", Role.STEWARD)
    digest = installed_examiner(settings).wanted_digest([EVIDENCE.subject])
    database = Database(settings.database_url)
    study = examined_study(database, tmp_path, "study", digest)
    with database.begin() as c:
        c.execute(sa.update(instances).values(pixel_sha256="0" * 64))
    with running_desk(settings, tmp_path):
        answer = httpx.post(
            f"{origin(settings)}/api/v1/projects/default/receipts",
            json={"study_instance_uid": study.uid},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert answer.status_code == 503
    assert "changed the database" not in answer.text


def test_receipts_asked_for_side_by_side_make_one_chain(site: Site) -> None:
    def ask() -> None:
        with site.client_with(token) as client:
            sent = {"study_instance_uid": site.released.uid}
            codes.append(client.post("/projects/default/receipts", json=sent).status_code)

    token = make_token(site.settings, "robot-steward", Role.STEWARD)
    codes: list[int] = []
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == [200] * 6
    with site.client_with(token) as client:
        listed = client.get("/receipts", params={"limit": 1000}).json()["receipts"]
        documents = [client.get(f"/receipts/{one['number']}").content for one in listed]
    signed = [receipt.read(content, "receipt") for content in documents]
    found = verify(signed, keys.public_key(site.folder / "key.pub"))
    assert (found.faults, found.gaps) == ((), ())
