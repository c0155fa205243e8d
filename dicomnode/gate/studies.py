"""Many studies at once: findings are loaded for some hundred studies by the queries of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dicomnode.domain import GateDecision, WantedDigest
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import Policy
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesFinding, verdicts_of_studies

_AT_A_TIME = 200


def decide_studies(
    database: Database, study_instance_uids: Iterable[str], policy: Policy, wanted: WantedDigest
) -> Iterator[GateDecision]:
    """A decision for each study, in the order given and once, as it stood when it was reached."""
    for decision, _ in decide_by_findings(database, study_instance_uids, policy, wanted):
        yield decision


def decide_by_findings(
    database: Database, study_instance_uids: Iterable[str], policy: Policy, wanted: WantedDigest
) -> Iterator[tuple[GateDecision, Sequence[SeriesFinding]]]:
    """The same, with the series of each study."""
    uids = list(dict.fromkeys(study_instance_uids))
    for start in range(0, len(uids), _AT_A_TIME):
        few = uids[start : start + _AT_A_TIME]
        with database.read() as connection:
            found = verdicts_of_studies(connection, few)
        for uid in few:
            yield decide(uid, found[uid], policy, wanted), found[uid]
