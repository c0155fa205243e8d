"""May this study leave? One decision, from what the database knows of each of its series.

It fails closed: a study leaves only if every series of it was examined as it stands now, the policy
of the project lets the verdict of each of its volumes pass, and the code of whatever was set aside,
and no person objects. What others count in it and never came was not examined either. All that
holds it is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicomnode.config_policy import Demand
from dicomnode.domain import (
    CopyState,
    ExaminedVolume,
    GateDecision,
    GateOutcome,
    SetAside,
    WantedDigest,
    worst_verdict,
)
from dicomnode.gate import people
from dicomnode.gate.policy import Policy
from dicomnode.gate.series_rules import asks_for_a_person, deciding_rule
from dicomnode.tracking import retention
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
    policy: Policy,
    wanted: WantedDigest,
) -> GateDecision:
    """The decision for a project; `findings` are all series of the study, examined or not.

    Among them are those that others count in the study and that never came.
    `wanted` names the networks, rules and thresholds that would examine a series now: what others
    said doesn't count.
    """
    if not findings:
        reason = "no series of this study was ever received, so nothing is known of it"
        return GateDecision(study_instance_uid, GateOutcome.UNKNOWN_STUDY, (reason,))
    holding = [policy.unknown] if policy.unknown else []
    holding += [reason for finding in findings for reason in _holds(finding, policy, wanted)]
    if not holding and not any(finding.volumes for finding in findings):
        holding = ["nothing of this study was examined, so nothing is proven"]
    holding += _unfinished_pulls(findings)
    remarks = tuple(
        f"{_name(finding)}: {retention.sentence(finding.removed_at)}"
        for finding in findings
        if finding.removed_at is not None
    )
    if holding:
        return GateDecision(study_instance_uid, GateOutcome.HOLD, tuple(holding), remarks)
    passing = tuple(reason for finding in findings for reason in _passes(finding))
    return GateDecision(study_instance_uid, GateOutcome.RELEASE, passing, remarks)


def waits_for_a_person(finding: SeriesFinding, policy: Policy) -> bool:
    """Whether a decision could let more of a series leave, or people contradict each other."""
    if finding.is_own_segmentation:
        return False
    volumes = finding.volumes
    asked = any(
        policy.passes(volume.verdict.kind) and _wants_a_person(finding, volume, policy)
        for volume in volumes
    ) or any(
        policy.passes(each.refusal.code) and policy.wants_a_person_for(each.refusal.code)
        for each in finding.refusals
    )
    return bool(asked and people.lacking(finding, policy)) or people.contradict(finding)


def _wants_a_person(finding: SeriesFinding, volume: ExaminedVolume, policy: Policy) -> bool:
    by_rule = asks_for_a_person(policy.rules.series, finding, volume)
    return by_rule or policy.wants_a_person_for(volume.verdict.kind)


def _unfinished_pulls(findings: Sequence[SeriesFinding]) -> list[str]:
    sources = sorted({finding.unfinished_pull for finding in findings} - {""})
    return [
        f"the study is on the list of pulls from {source} and not all of it came"
        for source in sources
    ]


def _holds(finding: SeriesFinding, policy: Policy, wanted: WantedDigest) -> tuple[str, ...]:
    """Why this series holds its study; empty where it doesn't."""
    why = _not_whole(finding)
    if not why and not finding.is_own_segmentation:
        why = finding.missing or _unexamined(finding) or _outdated(finding, wanted)
        why = why or _unproven(finding)
    reasons = (why,) if why else tuple(_not_passing(finding, policy))
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
        "it was examined by other software, networks, rules or thresholds than those in use now "
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


def _not_passing(finding: SeriesFinding, policy: Policy) -> Iterator[str]:
    if not policy.lets_leave(finding.modality):
        yield f"its modality is not among those that may leave for project {policy.project}"
    # Our own SEGs repeat what the headers of their source say.
    if finding.is_own_segmentation:
        return
    yield from _as_a_copy(finding, policy)
    yield from people.objections(finding, policy)
    for volume in finding.volumes:
        yield from _volume_holds(finding, volume, policy)
    for set_aside in finding.refusals:
        yield from _set_aside_holds(finding, set_aside, policy)


def _as_a_copy(finding: SeriesFinding, policy: Policy) -> Iterator[str]:
    """Of a copy that this node made: the verdict alone is not the proof, whoever says what."""
    if finding.origin is None:
        return
    made_for, project = finding.origin.project, policy.project
    if made_for and made_for != project:
        yield f"its pseudonyms are those of project {made_for}: project {project} has its own copy"
    if policy.rules.deidentify and not made_for:
        yield (
            f"it is a copy whose headers stayed as they came, and project {project} asks for "
            f"others (dicomnode deface STUDY_UID --project {project})"
        )
    if finding.origin.state is not CopyState.DONE:
        yield f"the copy of its study is not whole: it is {finding.origin.state}"
    for objection in finding.origin.objections:
        yield f"its face was removed here, and the proof is not given: {objection}"


def _volume_holds(finding: SeriesFinding, volume: ExaminedVolume, policy: Policy) -> Iterator[str]:
    kind, rule = volume.verdict.kind, deciding_rule(policy.rules.series, finding, volume)
    needs = rule.needs if rule else Demand.NOTHING
    why = f" (series rule {rule.name!r})" if rule and needs is Demand.PERSON else ""
    if not policy.passes(kind):
        yield _verdict(volume)
    elif (policy.wants_a_person_for(kind) or needs is Demand.PERSON) and (
        lacking := people.lacking(finding, policy)
    ):
        yield f"{_verdict(volume)}; {lacking}{why}"
    if rule and needs is Demand.HOLD:
        yield f"{_label(volume)}no series like it may leave (series rule {rule.name!r})"
    for claim in policy.holding_claims(volume.evidence.claims):
        yield f"{_label(volume)}{claim}"
    if policy.rules.requires_face_detector and volume.evidence.face_probability is None:
        yield (
            f"{_label(volume)}project {policy.project} asks for the face detector, which did not "
            "look at it ([evidence] face_detector, then dicomnode reexamine)"
        )


def _set_aside_holds(finding: SeriesFinding, set_aside: SetAside, policy: Policy) -> Iterator[str]:
    images, code = _images(set_aside, finding), set_aside.refusal.code
    if not policy.passes(code):
        yield f"{images} can't be examined, and may show a face: {set_aside.refusal}"
    elif policy.wants_a_person_for(code) and (lacking := people.lacking(finding, policy)):
        yield f"{images} can't be examined: {set_aside.refusal}; {lacking}"
    if policy.rules.requires_face_detector:
        yield f"{images} can't be examined, so no face detector looked at them"
    if policy.requires_claims:
        yield (
            f"{images} can't be examined, so what the headers say, which project "
            f"{policy.project} asks for, is not recorded"
        )


def _passes(finding: SeriesFinding) -> tuple[str, ...]:
    if finding.is_own_segmentation:
        return (f"{_name(finding)}: our own SEG",)
    volumes = (_verdict(volume) for volume in finding.volumes)
    refusals = (
        f"{_images(set_aside, finding)} refused as {set_aside.refusal.code}, and "
        "pass_refusals lets that pass"
        for set_aside in finding.refusals
    )
    said = people.remarks(finding)
    return tuple(f"{_name(finding)}: {reason}" for reason in (*volumes, *refusals, *said))


def _verdict(volume: ExaminedVolume) -> str:
    return f"{_label(volume)}{volume.verdict.kind}: {volume.verdict.reasons[0]}"


def _label(volume: ExaminedVolume) -> str:
    return f"volume {volume.label}: " if volume.label else ""


def _images(set_aside: SetAside, finding: SeriesFinding) -> str:
    is_all = not finding.volumes and len(finding.refusals) == 1
    return "it" if is_all else f"{set_aside.images} of its images"


def _name(finding: SeriesFinding) -> str:
    return f"series {finding.series_instance_uid} ({finding.modality or 'no modality'})"
