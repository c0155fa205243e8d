"""Issuing receipts: a decision, the evidence behind it and the files it is about, signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dicomnode.domain import GateDecision, ModelIdentity, as_json, revision_digest
from dicomnode.errors import ReceiptError
from dicomnode.gate.keys import key_id
from dicomnode.gate.policy import Policy
from dicomnode.gate.receipt import (
    FORMAT,
    POLICY,
    KeptHead,
    Person,
    Receipt,
    ReceiptDecision,
    ReceiptInstance,
    ReceiptRefusal,
    ReceiptSeries,
    SignedReceipt,
    read,
    sign,
)
from dicomnode.tracking import audit, receipts
from dicomnode.tracking.audit_chain import JsonValue
from dicomnode.tracking.findings import SeriesFinding
from dicomnode.tracking.receipts import InstanceDigests, StoredReceipt

if TYPE_CHECKING:
    from sqlalchemy import Connection


def issue(
    connection: Connection,
    key: Ed25519PrivateKey,
    decision: GateDecision,
    findings: Sequence[SeriesFinding],
    *,
    policy: Policy,
    by: str | Person = POLICY,
    now: datetime | None = None,
) -> SignedReceipt:
    """The receipt of this decision, which was made by these findings, signed and stored.

    Where the newest receipt of the study and project says the same, it is that one again; the
    policy also takes one by a person, who released the same. A new one takes number, chain and
    audit head under the lock of the audit log, which is held until the transaction ends. Raises
    `ReceiptError` where the instances that the database holds are not those that were examined.
    """
    members = receipts.instances_of(connection, decision.study_instance_uid)
    described = tuple(
        _series(finding, members.get(finding.series_instance_uid, ())) for finding in findings
    )
    unplaced = Receipt(
        format=FORMAT,
        number=0,
        previous_sha256="",
        at=now or datetime.now(UTC),
        project=policy.project,
        policy_sha256=policy.digest,
        study_instance_uid=decision.study_instance_uid,
        outcome=decision.outcome,
        reasons=decision.reasons,
        series=described,
        by=by,
        audit_head=KeptHead(0, ""),
        key_id=key_id(key.public_key()),
    )
    standing = next(_agreeing(connection, unplaced, key.public_key()), None)
    if standing is not None and by in (POLICY, standing.receipt.by):
        return standing
    return _sign_next(connection, unplaced, key)


def numbers_that_agree(
    connection: Connection, receipt: Receipt, public_key: Ed25519PublicKey
) -> frozenset[int]:
    """Of this receipt and those right before it that release the same, whoever did."""
    agreeing = _agreeing(connection, receipt, public_key)
    return frozenset(each.receipt.number for each in agreeing) | {receipt.number}


def says_the_same(one: Receipt, other: Receipt) -> bool:
    """But for when it was issued, and its place in the chain of receipts and in the audit log."""
    placed = replace(
        one,
        number=other.number,
        previous_sha256=other.previous_sha256,
        at=other.at,
        audit_head=other.audit_head,
    )
    return bool(as_json(placed) == as_json(other))


def _agreeing(
    connection: Connection, wanted: Receipt, public_key: Ed25519PublicKey
) -> Iterator[SignedReceipt]:
    """From the newest back to the first that says something else, but for who released it.

    One that somebody changed says something else.
    """
    before = None
    while stored := receipts.newest(
        connection, 1, wanted.study_instance_uid, wanted.project, before
    ):
        before = stored[0].number
        try:
            signed = read(stored[0].document.encode(), f"receipt {before}")
            public_key.verify(signed.signature, signed.signed)
        except (ReceiptError, InvalidSignature):
            return
        if not says_the_same(replace(wanted, by=signed.receipt.by), signed.receipt):
            return
        yield signed


def _sign_next(connection: Connection, unplaced: Receipt, key: Ed25519PrivateKey) -> SignedReceipt:
    head = audit.locked_head(connection)
    number, previous_sha256 = receipts.last(connection)
    receipt = replace(
        unplaced,
        number=number + 1,
        previous_sha256=previous_sha256,
        audit_head=KeptHead(head.row_count, head.sha256),
    )
    signed = sign(receipt, key)
    _store(connection, signed)
    return signed


def _store(connection: Connection, signed: SignedReceipt) -> None:
    receipt, by = signed.receipt, signed.receipt.by
    stored = StoredReceipt(
        number=receipt.number,
        study_instance_uid=receipt.study_instance_uid,
        at=receipt.at,
        project=receipt.project,
        outcome=receipt.outcome.value,
        key_id=receipt.key_id,
        sha256=signed.sha256,
        document=signed.document,
    )
    receipts.add(connection, stored)
    detail: dict[str, JsonValue] = {
        "number": receipt.number,
        "sha256": signed.sha256,
        "project": receipt.project,
        "outcome": receipt.outcome.value,
        "by": by.account if isinstance(by, Person) else by,
    }
    audit.append(connection, "receipt issued", receipt.study_instance_uid, detail, receipt.at)


def _series(finding: SeriesFinding, members: Sequence[InstanceDigests]) -> ReceiptSeries:
    """The series at the revision that was judged; its digest binds the evidence to the files."""
    uid, revision = finding.series_instance_uid, finding.revision_number or 0
    held = [each for each in members if each.first_revision <= revision]
    digest = revision_digest((each.sop_instance_uid, each.pixel_sha256) for each in held)
    if digest != (finding.revision_digest or revision_digest(())):
        raise ReceiptError(
            f"series {uid}: the digests of its instances in the database are not those that were "
            "examined, so no receipt can be issued: somebody changed the database by hand"
        )
    return ReceiptSeries(
        series_instance_uid=uid,
        is_own_segmentation=finding.is_own_segmentation,
        revision_digest=digest,
        verdict=finding.verdict,
        refusals=tuple(
            ReceiptRefusal(each.refusal.code.value, each.images) for each in finding.refusals
        ),
        decisions=tuple(
            ReceiptDecision(each.kind.value, each.account, each.note, each.at)
            for each in finding.decisions
            if each.is_of(finding.revision_digest, finding.examination_id)
        ),
        networks=_networks(finding),
        software_version=finding.software_version,
        instances=tuple(
            ReceiptInstance(
                sop_instance_uid=each.sop_instance_uid,
                file_sha256=each.file_sha256,
                pixel_sha256=each.pixel_sha256,
                data_set_sha256=each.data_set_sha256,
                transfer_syntax_uid=each.transfer_syntax_uid,
            )
            for each in held
        ),
    )


def _networks(finding: SeriesFinding) -> tuple[ModelIdentity, ...]:
    """Those that looked at any of its volumes, each once."""
    every = (model for volume in finding.volumes for model in volume.evidence.models)
    return tuple(dict.fromkeys(every))
