"""A receipt says what was decided and of which files; nobody can change it unseen."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import DBAPIError

from dicomnode.config_policy import GateSettings
from dicomnode.errors import DatabaseError, ReceiptError
from dicomnode.gate import receipt
from dicomnode.gate.keys import key_id
from dicomnode.gate.policy import Policy
from dicomnode.gate.receipt import KeptHead, Person
from dicomnode.gate.verification import verify
from dicomnode.tracking import audit, decisions
from dicomnode.tracking import receipts as kept
from dicomnode.tracking.audit_chain import AuditHead
from dicomnode.tracking.audit_chain import verify as verify_log
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.spool import Spool
from tests.factories import make_series
from tests.unit.gate.released import Study, examined_study, issue, new_key, receive


@pytest.fixture
def key(tmp_path: Path) -> Ed25519PrivateKey:
    return new_key(tmp_path)


@pytest.fixture
def study(database: Database, tmp_path: Path) -> Study:
    return examined_study(database, tmp_path)


def test_a_receipt_names_the_evidence_and_every_file(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    said = issue(database, study, key, project="heads", by=Person("steward", "looked at it"))
    document = json.loads(said.document)
    assert (document["format"], document["number"], document["previous_sha256"]) == (2, 1, "0" * 64)
    assert (document["study_instance_uid"], document["outcome"]) == (study.uid, "release")
    assert document["by"] == {"account": "steward", "note": "looked at it"}
    assert (document["project"], document["reasons"]) == ("heads", ["both are DEFACED"])
    assert document["key_id"] == key_id(key.public_key())
    for each in document["series"]:
        assert each["verdict"]["kind"] == "DEFACED"
        assert each["verdict"]["numbers"] == {"face_ml": 0.5}
        assert each["verdict"]["reasons"] == ["an anonymised area of 320 ml"]
        assert (each["verdict"]["rule_id"], each["verdict"]["rule_version"]) == ("rule", 1)
        assert each["networks"] == [
            {
                "kind": "foreground",
                "name": "foreground-starter",
                "version": "1",
                "sha256": "ab" * 32,
            }
        ]
        assert (each["software_version"], len(each["instances"])) == ("0.1.0", 4)
    assert verify([said], key.public_key(), study.files).is_proven


def test_a_receipt_names_the_rules_and_what_people_decided(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    before = json.loads(issue(database, study, key).document)
    uid = before["series"][0]["series_instance_uid"]
    with database.begin() as connection:
        decisions.record(connection, uid, DecisionKind.DEFACED, account="anna", note="looked")
    after = json.loads(issue(database, study, key).document)
    assert [each["decisions"] for each in before["series"]] == [[], []]
    (said,) = after["series"][0]["decisions"]
    assert (said["kind"], said["account"], said["note"]) == ("defaced", "anna", "looked")
    assert after["policy_sha256"] == Policy("default", GateSettings()).digest
    assert json.loads(issue(database, study, key, project="heads").document)[
        "policy_sha256"
    ] not in (after["policy_sha256"], "")


def test_a_receipt_holds_nothing_of_the_patient(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    assert "Synthetic" not in issue(database, study, key).document


def test_receipts_are_kept_chained_and_on_record(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    first, second = (issue(database, study, key, project=name) for name in ("heads", "necks"))
    assert second.receipt.previous_sha256 == first.sha256
    with database.read() as connection:
        assert [each.document for each in kept.newest(connection)] == [
            second.document,
            first.document,
        ]
        assert len(kept.newest(connection, study_instance_uid="9.9")) == 0
        (event, _) = audit.newest(connection, event="receipt issued")
        assert (event.subject, event.detail["sha256"]) == (study.uid, second.sha256)


def test_a_receipt_carries_the_head_of_the_audit_log(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    with database.begin() as connection:
        audit.append(connection, "tested", "1.2.3")
        before = audit.locked_head(connection)
    first, second = (issue(database, study, key, project=name) for name in ("heads", "necks"))
    assert first.receipt.audit_head == KeptHead(before.row_count, before.sha256)
    witness = second.receipt.audit_head
    with database.read() as connection:
        found = verify_log(connection, [AuditHead(witness.row_count, witness.sha256)])
    assert (witness.row_count, found.rows, found.fault) == (2, 3, "")


def test_receipts_that_are_issued_at_once_make_one_chain(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    names = [f"project-{number}" for number in range(6)]
    workers = [threading.Thread(target=issue, args=(database, study, key, n)) for n in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    with database.read() as connection:
        documents = [each.document for each in kept.newest(connection)]
    read = [receipt.read(text.encode(), "it") for text in documents]
    found = verify(read, key.public_key())
    assert ([each.number for each in found.receipts], found.faults) == ([1, 2, 3, 4, 5, 6], ())


def test_the_same_release_has_the_same_receipt(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    first = issue(database, study, key)
    issue(database, study, key, project="heads")
    assert issue(database, study, key).document == first.document
    with database.read() as connection:
        assert len(kept.newest(connection)) == 2
        assert len(audit.newest(connection, event="receipt issued")) == 2


def test_whatever_a_receipt_says_else_makes_a_new_one(
    database: Database, spool: Spool, study: Study, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    uid = issue(database, study, key).receipt.series[0].series_instance_uid

    def decide(note: str) -> None:
        with database.begin() as connection:
            decisions.record(connection, uid, DecisionKind.DEFACED, account="anna", note=note)

    def is_new(key: Ed25519PrivateKey = key, **options: Any) -> bool:
        with database.read() as connection:
            before = kept.last(connection)[0]
        return issue(database, study, key, **options).receipt.number == before + 1

    assert is_new(by=Person("steward", "looked"))
    assert is_new(rules=GateSettings(persons_needed=2))
    assert is_new()  # the one before was of other rules
    decide("looked")
    assert is_new()
    assert not is_new()
    decide("looked again")
    assert is_new()
    assert is_new(key=new_key(tmp_path, "another"))
    more = make_series(tmp_path / "more", study="study", series="more", slices=4)
    receive(database, spool, more)
    assert is_new()


def test_a_receipt_that_somebody_changed_is_not_handed_out_again(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    first = issue(database, study, key)
    with database.begin() as connection:
        drop_triggers(connection)
        changed = first.document.replace(first.receipt.at.isoformat(), "2020-01-01T00:00:00Z")
        assert changed != first.document
        connection.execute(sa.text("UPDATE receipts SET document = :it"), {"it": changed})
    assert issue(database, study, key).receipt.number == 2


def drop_triggers(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("DROP TRIGGER receipts_no_update"))
    else:
        connection.execute(sa.text("DROP TRIGGER receipts_append_only ON receipts"))


def test_no_receipt_is_issued_for_files_that_were_not_examined(
    database: Database, study: Study, key: Ed25519PrivateKey
) -> None:
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE instances SET pixel_sha256 = 'other' WHERE id = 1"))
    with pytest.raises(ReceiptError, match="not those that were examined"):
        issue(database, study, key)
    with database.read() as connection:
        assert kept.newest(connection) == []


@pytest.mark.parametrize("statement", ["UPDATE receipts SET project = 'x'", "DELETE FROM receipts"])
def test_the_database_refuses_to_change_a_receipt(
    database: Database, study: Study, key: Ed25519PrivateKey, statement: str
) -> None:
    issue(database, study, key)

    def change() -> None:
        with database.begin() as connection:
            connection.execute(sa.text(statement))

    with pytest.raises((DBAPIError, DatabaseError), match="can only be appended to"):
        change()
