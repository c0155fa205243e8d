"""A whole export: the studies of a list, or all that the gate releases, one after the other.

What has left is in the ledger, so a run that was killed goes on when it is started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dicomnode.domain import GateOutcome, WantedDigest
from dicomnode.export.study import DestinationAwayError, Exporter, StudyOutcome, StudyResult
from dicomnode.gate.policy import Policy
from dicomnode.gate.studies import decide_studies
from dicomnode.tracking.database import Database
from dicomnode.tracking.studies import pages


@dataclass
class ExportSummary:
    """How many studies ended how; `away` says why a run ended before its end."""

    studies: dict[str, int] = field(default_factory=dict)
    instances: int = 0
    away: str = ""

    def add(self, result: StudyResult) -> None:
        self.studies[result.outcome] = self.studies.get(result.outcome, 0) + 1
        self.instances += result.instances

    @property
    def has_failed(self) -> bool:
        return bool(self.away or self.studies.get(StudyOutcome.FAILED))

    @property
    def holds(self) -> bool:
        return bool(self.studies.get(StudyOutcome.HELD) or self.studies.get(StudyOutcome.CHANGED))


def released(database: Database, policy: Policy, wanted: WantedDigest) -> Iterator[str]:
    """The Study Instance UIDs of all studies that may leave now; a page of them is in memory."""
    for page in pages(database):
        for decision in decide_studies(database, page, policy, wanted):
            if decision.outcome is GateOutcome.RELEASE:
                yield decision.study_instance_uid


def export_all(
    exporter: Exporter, study_instance_uids: Iterable[str], tell: Callable[[StudyResult], None]
) -> ExportSummary:
    """Export each study; `tell` is called with what became of it. Ends where the destination does.

    Raises `DatabaseError`.
    """
    summary = ExportSummary()
    for uid in study_instance_uids:
        try:
            result = exporter.export(uid)
        except DestinationAwayError as away:
            result, summary.away = away.result, str(away)
        summary.add(result)
        tell(result)
        if summary.away:
            break
    return summary
