"""A study decided and, where it may leave, its receipt signed: one transaction for both."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dicomnode.domain import GateDecision, GateOutcome, WantedDigest
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.gate.receipt import POLICY, Person, SignedReceipt
from dicomnode.gate.receipts import issue
from dicomnode.tracking import audit
from dicomnode.tracking.audit_chain import JsonValue
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import verdicts_of_study


@dataclass(frozen=True)
class Decided:
    """`signed` is None where the study may not leave, or no receipt was asked for."""

    decision: GateDecision
    signed: SignedReceipt | None = None


def decide_study(
    database: Database, study_instance_uid: str, policy: Policy, wanted: WantedDigest
) -> Decided:
    """The decision alone; nothing is written."""
    with database.read() as connection:
        findings = verdicts_of_study(connection, study_instance_uid)
    return Decided(decide(study_instance_uid, findings, policy, wanted))


def decide_and_issue(
    database: Database,
    key: Ed25519PrivateKey,
    study_instance_uid: str,
    policy: Policy,
    wanted: WantedDigest,
    by: str | Person = POLICY,
) -> Decided:
    """What is signed was read in the transaction that keeps the receipt.

    The receipt names a person it is `by`, and the audit log each time one asks. Raises
    `ReceiptError`.
    """
    with database.begin() as connection:
        findings = verdicts_of_study(connection, study_instance_uid)
        decision = decide(study_instance_uid, findings, policy, wanted)
        if decision.outcome is not GateOutcome.RELEASE:
            return Decided(decision)
        signed = issue(connection, key, decision, findings, policy=policy, by=by)
        if isinstance(by, Person):
            detail: dict[str, JsonValue] = {"account": by.account, "number": signed.receipt.number}
            audit.append(connection, "receipt asked for", study_instance_uid, detail)
    return Decided(decision, signed)
