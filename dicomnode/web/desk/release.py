"""Releasing a study by hand: decided anew, signed and kept in one transaction.

The form names what the steward saw. Where anything of it has changed meanwhile, nothing is issued.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomnode.domain import GateDecision, GateOutcome, as_json
from dicomnode.errors import GateError
from dicomnode.gate import keys, receipts
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.gate.receipt import Person, SignedReceipt
from dicomnode.tracking.findings import SeriesFinding, verdicts_of_study
from dicomnode.web.desk.desk import Desk

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LONGEST_NOTE = 500
NO_KEY = (
    "No receipt can be issued here: the node has no key to sign with (gate.key_file, dicomnode "
    "gate keygen)."
)


@dataclass(frozen=True)
class Asked:
    """What the gate says of a study for a project, and by what."""

    policy: Policy
    findings: Sequence[SeriesFinding]
    decision: GateDecision

    @property
    def seen(self) -> str:
        """A digest of all that a person could have seen change."""
        examined = [
            (each.series_instance_uid, each.revision_digest, each.examination_id)
            for each in self.findings
        ]
        said = [examined, as_json(self.decision), self.policy.digest]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def ask(connection: Connection, desk: Desk, study_instance_uid: str, policy: Policy) -> Asked:
    """Raises `ModelError` where the networks of the node are wrong."""
    findings = verdicts_of_study(connection, study_instance_uid)
    return Asked(policy, findings, decide(study_instance_uid, findings, policy, desk.wanted))


def release(
    desk: Desk, study_instance_uid: str, policy: Policy, person: Person, seen: str
) -> SignedReceipt:
    """The receipt that names `person`.

    Raises `GateError` where the gate holds the study, or it is not what was `seen`, and
    `ReceiptError` where the key or the record of the study can't be used.
    """
    _check_note(person.note)
    if desk.settings.gate.key_file is None:
        raise GateError(NO_KEY)
    key = keys.private_key(desk.settings.gate.key_file)
    with desk.database.begin() as connection:
        asked = ask(connection, desk, study_instance_uid, policy)
        if asked.decision.outcome is not GateOutcome.RELEASE:
            raise GateError(f"The gate holds this study: {'; '.join(asked.decision.reasons)}")
        if asked.seen != seen:
            raise GateError("The study has changed since you opened this page: look again.")
        return receipts.issue(
            connection, key, asked.decision, asked.findings, policy=policy, by=person
        )


def _check_note(note: str) -> None:
    if not note or len(note) > _LONGEST_NOTE or not note.isprintable():
        raise GateError(
            f"A release needs a note that says why: one line of up to {_LONGEST_NOTE} characters."
        )
