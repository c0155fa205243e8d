"""Receipts are listed without their documents, which are long."""

from __future__ import annotations

from datetime import UTC, datetime

from dicomnode.tracking import receipts
from dicomnode.tracking.database import Database
from dicomnode.tracking.receipts import ListedReceipt, StoredReceipt

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_list_of_receipts_is_paged_and_has_no_document(database: Database) -> None:
    with database.begin() as c:
        for number, study in ((1, "1.2"), (2, "1.3"), (3, "1.2")):
            receipts.add(c, StoredReceipt(number, study, NOW, "p", "release", "k", "sha", "{}"))
        newest = receipts.listed(c, 2)
        older = receipts.listed(c, 2, before=newest[-1].number)
        of_study = receipts.listed(c, study_instance_uid="1.2")
        whole = receipts.newest(c, project="p")
    assert newest[0] == ListedReceipt(3, "1.2", NOW, "p", "release", "k", "sha")
    assert [each.number for each in (*newest, *older)] == [3, 2, 1]
    assert [each.number for each in of_study] == [3, 1]
    assert [each.document for each in whole] == ["{}"] * 3
