"""May this study leave? One decision, from what the database knows of each of its series.

It fails closed: a study leaves only if every series of it was examined as it stands now and has
a verdict that the policy lets pass. Each series that holds it gives its own reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomnode.config import GateSettings
from dicomnode.domain import GateDecision, GateOutcome
from dicomnode.tracking.findings import SeriesFinding, SeriesState

_NOT_EXAMINED = {
    SeriesState.RECEIVING: "it is still arriving, or its quiet time is not over",
    SeriesState.WAITING: "it waits for its examination",
    SeriesState.EXAMINING: "it is being examined",
}


def decide(
    study_instance_uid: str,
    findings: Sequence[SeriesFinding],
    settings: GateSettings,
    examiner_digest: str,
) -> GateDecision:
    """The decision with its reasons; `findings` are all series of the study, examined or not.

    `examiner_digest` names the networks, rules and thresholds that are installed now: what
    others said doesn't count.
    """
    if not findings:
        reason = "no series of this study was ever received, so nothing is known of it"
        return GateDecision(study_instance_uid, GateOutcome.UNKNOWN_STUDY, (reason,))
    holding = [
        reason for finding in findings if (reason := _holds(finding, settings, examiner_digest))
    ]
    if not holding and all(finding.verdict is None for finding in findings):
        holding = ["nothing of this study was examined, so nothing is proven"]
    if holding:
        return GateDecision(study_instance_uid, GateOutcome.HOLD, tuple(holding))
    passing = tuple(_passes(finding) for finding in findings)
    return GateDecision(study_instance_uid, GateOutcome.RELEASE, passing)


def _holds(finding: SeriesFinding, settings: GateSettings, examiner_digest: str) -> str:
    """Why this series holds its study; empty where it doesn't."""
    why = _not_whole(finding)
    if not why and not finding.is_own_segmentation:
        why = (
            _unexamined(finding)
            or _outdated(finding, examiner_digest)
            or _not_passing(finding, settings)
        )
    return f"{_name(finding)}: {why}" if why else ""


def _not_whole(finding: SeriesFinding) -> str:
    if finding.quarantined:
        return (
            f"{finding.quarantined} objects that belong to it or took UIDs of its instances "
            "are in quarantine: which ones are true is for a person to say"
        )
    if finding.is_being_sent:
        return "instances may still be on their way into the index"
    return ""


def _unexamined(finding: SeriesFinding) -> str:
    if finding.has_newer_instances and finding.examination_id is not None:
        return "instances arrived after its examination"
    if finding.state is SeriesState.FAILED:
        return f"its examination failed: {finding.failure}"
    return _NOT_EXAMINED.get(finding.state, "")


def _outdated(finding: SeriesFinding, examiner_digest: str) -> str:
    if finding.examiner_digest == examiner_digest:
        return ""
    return "it was examined by other networks, rules or thresholds than those installed now"


def _not_passing(finding: SeriesFinding, settings: GateSettings) -> str:
    if finding.refusal is not None:
        if finding.refusal.code in settings.pass_refusals:
            return ""
        return f"it can't be examined, and may show a face: {finding.refusal}"
    if finding.verdict is None:
        return "it has no verdict"
    if finding.verdict.kind in settings.pass_verdicts:
        return ""
    return f"{finding.verdict.kind}: {finding.verdict.reasons[0]}"


def _passes(finding: SeriesFinding) -> str:
    if finding.is_own_segmentation:
        return f"{_name(finding)}: our own SEG"
    if finding.verdict is None:
        return f"{_name(finding)}: refused, and gate.pass_refusals lets it pass"
    return f"{_name(finding)}: {finding.verdict.kind}: {finding.verdict.reasons[0]}"


def _name(finding: SeriesFinding) -> str:
    return f"series {finding.series_instance_uid} ({finding.modality or 'no modality'})"
