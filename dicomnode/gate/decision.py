"""May this study leave? One decision, from what the database knows of each of its series.

It fails closed: a study leaves only if every series of it was examined as it stands now, the policy
lets the verdict of each of its volumes pass, and the code of whatever was set aside. What others
count in it and never came was not examined either. All that holds it is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomnode.config import GateSettings
from dicomnode.domain import (
    ExaminedVolume,
    GateDecision,
    GateOutcome,
    SetAside,
    WantedDigest,
    worst_verdict,
)
from dicomnode.tracking.findings import SeriesFinding, SeriesState

_NOT_EXAMINED = {
    SeriesState.NOT_RECEIVED: "nothing of it was received",
    SeriesState.RECEIVING: "it is still arriving, or its quiet time is not over",
    SeriesState.WAITING: "it waits for its examination",
    SeriesState.EXAMINING: "it is being examined",
}


def decide(
    study_instance_uid: str,
    findings: Sequence[SeriesFinding],
    settings: GateSettings,
    wanted: WantedDigest,
) -> GateDecision:
    """The decision with its reasons; `findings` are all series of the study, examined or not.

    Among them are those that others count in the study and that never came.
    `wanted` names the networks, rules and thresholds that would examine a series now: what others
    said doesn't count.
    """
    if not findings:
        reason = "no series of this study was ever received, so nothing is known of it"
        return GateDecision(study_instance_uid, GateOutcome.UNKNOWN_STUDY, (reason,))
    holding = [reason for finding in findings for reason in _holds(finding, settings, wanted)]
    if not holding and not any(finding.volumes for finding in findings):
        holding = ["nothing of this study was examined, so nothing is proven"]
    holding += _unfinished_pulls(findings)
    if holding:
        return GateDecision(study_instance_uid, GateOutcome.HOLD, tuple(holding))
    passing = tuple(reason for finding in findings for reason in _passes(finding))
    return GateDecision(study_instance_uid, GateOutcome.RELEASE, passing)


def _unfinished_pulls(findings: Sequence[SeriesFinding]) -> list[str]:
    sources = sorted({finding.unfinished_pull for finding in findings} - {""})
    return [
        f"the study is on the list of pulls from {source} and not all of it came"
        for source in sources
    ]


def _holds(finding: SeriesFinding, settings: GateSettings, wanted: WantedDigest) -> tuple[str, ...]:
    """Why this series holds its study; empty where it doesn't."""
    why = _not_whole(finding)
    if not why and finding.is_own_segmentation:
        return ()
    why = (
        why
        or finding.missing
        or _unexamined(finding)
        or _outdated(finding, wanted)
        or _unproven(finding)
    )
    reasons = (why,) if why else _not_passing(finding, settings)
    return tuple(f"{_name(finding)}: {reason}" for reason in reasons)


def _not_whole(finding: SeriesFinding) -> str:
    if finding.quarantined:
        return (
            f"{finding.quarantined} objects that belong to it or took UIDs of its instances "
            "were not accepted (dicomnode quarantine list)"
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


def _outdated(finding: SeriesFinding, wanted: WantedDigest) -> str:
    if finding.examiner_digest == wanted(finding.subjects):
        return ""
    return (
        "it was examined by other networks, rules or thresholds than those installed now "
        "(dicomnode reexamine)"
    )


def _unproven(finding: SeriesFinding) -> str:
    """Its record has to say something, and what it says has to be of one piece."""
    if not finding.volumes:
        return "" if finding.refusals and finding.verdict is None else "it has no verdict"
    if finding.verdict is None:
        return "it has no verdict"
    worst = worst_verdict(volume.verdict.kind for volume in finding.volumes)
    return "" if finding.verdict.kind is worst else "its verdict is not that of its worst volume"


def _not_passing(finding: SeriesFinding, settings: GateSettings) -> tuple[str, ...]:
    volumes = (
        _verdict(volume)
        for volume in finding.volumes
        if volume.verdict.kind not in settings.pass_verdicts
    )
    refusals = (
        f"{_images(set_aside, finding)} can't be examined, and may show a face: {set_aside.refusal}"
        for set_aside in finding.refusals
        if set_aside.refusal.code not in settings.pass_refusals
    )
    return (*volumes, *refusals)


def _passes(finding: SeriesFinding) -> tuple[str, ...]:
    if finding.is_own_segmentation:
        return (f"{_name(finding)}: our own SEG",)
    volumes = (_verdict(volume) for volume in finding.volumes)
    refusals = (
        f"{_images(set_aside, finding)} refused as {set_aside.refusal.code}, and "
        "gate.pass_refusals lets that pass"
        for set_aside in finding.refusals
    )
    return tuple(f"{_name(finding)}: {reason}" for reason in (*volumes, *refusals))


def _verdict(volume: ExaminedVolume) -> str:
    label = f"volume {volume.label}: " if volume.label else ""
    return f"{label}{volume.verdict.kind}: {volume.verdict.reasons[0]}"


def _images(set_aside: SetAside, finding: SeriesFinding) -> str:
    is_all = not finding.volumes and len(finding.refusals) == 1
    return "it" if is_all else f"{set_aside.images} of its images"


def _name(finding: SeriesFinding) -> str:
    return f"series {finding.series_instance_uid} ({finding.modality or 'no modality'})"
