"""Lists of receipts, over the API and at the desk, read no document: some 250 bytes an instance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from dicomnode.domain import Role, VerdictKind
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.tracking import accounts, api_tokens, receipts
from dicomnode.tracking.database import Database
from dicomnode.tracking.receipts import StoredReceipt
from dicomnode.web.api.application import make_api
from dicomnode.web.identity import Identity
from tests.desk_site import ORIGIN, Site, make_site, pages_of, visitor

DOCUMENT = '{"of": "a receipt"}'
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    made.add_account("stella", Role.STEWARD)
    yield made
    made.database.close()


def add_receipt(site: Site) -> str:
    """Of a study that is there too; returns its UID."""
    study, _ = site.add("s1", "T1", VerdictKind.DEFACED)
    with site.database.begin() as c:
        stored = StoredReceipt(1, study, NOW, "p", "release", "k", "a" * 64, DOCUMENT)
        receipts.add(c, stored)
    return study


@contextmanager
def asked(database: Database) -> Iterator[Sequence[str]]:
    """The statements that read receipts meanwhile."""
    found: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM receipts" in statement:
            found.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(database.engine, "before_cursor_execute", note)


def test_the_api_lists_receipts_without_reading_documents(site: Site) -> None:
    add_receipt(site)
    with site.database.begin() as c:
        owner = accounts.by_name(c, "stella")
        assert owner is not None
        token = api_tokens.create(c, owner, "a test", Role.STEWARD)[1]
    identity = Identity(site.settings.web, site.database)
    api = make_api(site.settings, identity, ExaminerInUse(site.settings))
    program = TestClient(api, base_url=ORIGIN, headers={"Authorization": f"Bearer {token}"})
    with asked(site.database) as statements:
        listed = program.get("/receipts").json()["receipts"]
    assert [each["number"] for each in listed] == [1]
    assert statements
    assert not any("document" in each for each in statements)
    assert program.get("/receipts/1").text == DOCUMENT


@pytest.mark.parametrize("page", ["exports", "studies/{study}"])
def test_the_desk_lists_receipts_without_reading_documents(site: Site, page: str) -> None:
    study = add_receipt(site)
    browser = visitor(pages_of(site), "stella")
    with asked(site.database) as statements:
        shown = browser.get(f"/desk/{page.format(study=study)}").text
    assert "/desk/receipts/1" in shown
    assert statements
    assert not any("document" in each for each in statements)
