"""Letting studies out: decided, signed and on record before the first byte leaves.

`begin` decides, takes the receipt and writes the row of the ledger in one transaction. Minutes may
pass until the last instance of a study leaves, and meanwhile late data may come, or a person
object. So `still_stands` is to be asked right before each instance.

What remains is the instance in flight: what is committed after that question and before the file
is renamed, or the archive has answered, does not stop it, but the next one. Its bytes are those
that were examined, under a receipt that stood when it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dicomnode.domain import GateDecision, GateOutcome, WantedDigest
from dicomnode.errors import ExportError
from dicomnode.gate import receipts
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.gate.receipt import ReceiptInstance, ReceiptSeries, SignedReceipt
from dicomnode.tracking import exports, retention
from dicomnode.tracking.database import Database
from dicomnode.tracking.exports import Export, Leaving
from dicomnode.tracking.findings import SeriesFinding, verdicts_of_study

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Release:
    """A study that may leave, by which findings, and the receipt that says so.

    `leaving` is None where all that the receipt names has left for this destination before.
    """

    decision: GateDecision
    findings: Sequence[SeriesFinding]
    signed: SignedReceipt
    leaving: Leaving | None

    @property
    def study_instance_uid(self) -> str:
        return self.decision.study_instance_uid

    @property
    def number(self) -> int:
        return self.signed.receipt.number

    @cached_property
    def named(self) -> dict[str, tuple[ReceiptSeries, ReceiptInstance]]:
        """By SOP Instance UID."""
        series = self.signed.receipt.series
        return {one.sop_instance_uid: (each, one) for each in series for one in each.instances}


class Exit:
    """One run: what lets studies of a project out to one destination, for one account."""

    def __init__(
        self,
        database: Database,
        key: Ed25519PrivateKey,
        policy: Policy,
        wanted: WantedDigest,
        destination: str,
        account: str,
    ) -> None:
        self._database = database
        self._key = key
        self._policy = policy
        self._wanted = wanted
        self._export = Export(policy.project, destination, account)
        self._export_id: int | None = None

    def decide(self, study_instance_uid: str) -> GateDecision:
        with self._database.read() as connection:
            findings = verdicts_of_study(connection, study_instance_uid)
        return decide(study_instance_uid, findings, self._policy, self._wanted)

    def begin(
        self, study_instance_uid: str, *, again: bool = False, from_spool: bool = False
    ) -> Release | GateDecision:
        """A release, on record; or the decision that holds the study, and nothing is.

        `again`: what left under the same release before is to leave once more. `from_spool`: the
        node's own files are to leave. Raises `ReceiptError`, `DatabaseError`, and `ExportError`
        where files that are to leave are gone: nothing is on record then.
        """
        with self._database.begin() as connection:
            findings = verdicts_of_study(connection, study_instance_uid)
            decision = decide(study_instance_uid, findings, self._policy, self._wanted)
            if decision.outcome is not GateOutcome.RELEASE:
                return decision
            signed = receipts.issue(connection, self._key, decision, findings, policy=self._policy)
            leaving = exports.begin(
                connection,
                self._export,
                study_instance_uid,
                signed.receipt.number,
                [instance.sop_instance_uid for instance in signed.receipt.instances],
                export_id=self._export_id,
                again=again,
                alike=receipts.numbers_that_agree(
                    connection, signed.receipt, self._key.public_key()
                ),
            )
            if from_spool and leaving is not None:
                _require_files(connection, leaving)
        if leaving is not None:
            self._export_id = leaving.export_id
        return Release(decision, findings, signed, leaving)

    def still_stands(self, release: Release) -> bool:
        """Whether the gate would say the same now, by the same findings."""
        uid = release.study_instance_uid
        with self._database.read() as connection:
            findings = verdicts_of_study(connection, uid)
        if findings != release.findings:
            return False
        return decide(uid, findings, self._policy, self._wanted) == release.decision

    def record(self, release: Release, sop_instance_uid: str) -> None:
        """Note that an instance has left."""
        assert release.leaving is not None
        with self._database.begin() as connection:
            exports.record(connection, release.leaving.exported_study_id, sop_instance_uid)

    def finish(self, release: Release) -> None:
        assert release.leaving is not None
        with self._database.begin() as connection:
            exports.finish(connection, release.leaving.exported_study_id)

    def stop(self, release: Release, reason: str) -> None:
        assert release.leaving is not None
        with self._database.begin() as connection:
            exports.stop(connection, release.leaving.exported_study_id, reason)


def _require_files(connection: Connection, leaving: Leaving) -> None:
    removed_at = retention.first_removal(connection, leaving.remaining)
    if removed_at is not None:
        raise ExportError(f"its {retention.sentence(removed_at)}")
