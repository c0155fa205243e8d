"""Which series of a study go into its copy without faces, and which can't.

What shows a face, or may show one, is defaced; what doesn't is copied as it is, so that what leaves
is the study and not a part of it; what nobody has examined is left out, since it can show a face.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dicomnode.config import Settings
from dicomnode.config_policy import DEFAULT_PROJECT
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import Role, VerdictKind
from dicomnode.errors import DefacingError, NotReadyError
from dicomnode.gate.policy import policy_of
from dicomnode.tracking import accounts, retention, study_copies
from dicomnode.tracking.account_names import account_name
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.findings import SeriesFinding, SeriesState, verdicts_of_study
from dicomnode.tracking.study_copies import LeftOut, PlannedSeries, StudyCopy

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Of these a volume shows no face.
_FACELESS = (VerdictKind.DEFACED, VerdictKind.NO_FACE_IN_VIEW)
_UNDER_WAY = {
    SeriesState.RECEIVING: "it is still arriving",
    SeriesState.WAITING: "it waits for its examination",
    SeriesState.EXAMINING: "it is being examined",
}


@dataclass(frozen=True)
class CopyPlan:
    series: tuple[PlannedSeries, ...]
    left_out: tuple[LeftOut, ...]

    def study_instance_uid(self, source: str, manner: str) -> str:
        """The same study, as it stands, copied in the same manner: the same copy."""
        members = sorted(
            f"{one.series_instance_uid} {one.revision_digest} {' '.join(one.unchanged)}"
            for one in self.series
        )
        content = hashlib.sha256("\n".join((*members, manner)).encode()).hexdigest()
        return result_uid("study without faces", source, content)


def ask_for_copy(
    connection: Connection,
    study_instance_uid: str,
    settings: Settings,
    examiner_digest: str,
    project: str = DEFAULT_PROJECT,
    *,
    by: str,
    now: datetime | None = None,
) -> StudyCopy:
    """Ask the working process for it; the copy that is there already, where there is one.

    It is made for a project, and shared by all whose copies keep their headers as they came. `by`
    is an account, a steward once there are accounts, or a project (`BY_PROJECT`). Raises
    `DefacingError` with the reason why there can't be one, `NotReadyError` where not yet.
    """
    if not by.startswith(study_copies.BY_PROJECT):
        by = account_name(by, DefacingError)
        if reason := accounts.why_not(connection, by, Role.STEWARD):
            raise DefacingError(f"{by} can't have faces removed: {reason}")
    names_of = deidentified_for(settings, project)
    plan = plan_copy(study_instance_uid, verdicts_of_study(connection, study_instance_uid))
    uid = plan.study_instance_uid(study_instance_uid, manner(settings, examiner_digest, names_of))
    return study_copies.ask(
        connection,
        study_instance_uid,
        uid,
        plan.series,
        plan.left_out,
        by=by,
        project=names_of,
        now=now,
    )


def ask_by_policy(
    connection: Connection,
    study_instance_uid: str,
    settings: Settings,
    examiner_digest: str,
    project: str,
) -> bool:
    """The same for a project; False where these very revisions were copied, or are being copied.

    So neither an upgrade nor other settings copy a whole archive anew: who wants that asks.
    """
    names_of = deidentified_for(settings, project)
    plan = plan_copy(study_instance_uid, verdicts_of_study(connection, study_instance_uid))
    for copy in study_copies.of_study(connection, study_instance_uid):
        if copy.project == names_of and _revisions(copy.plan) == _revisions(plan.series):
            return False
    by = f"{study_copies.BY_PROJECT}{project}"
    ask_for_copy(connection, study_instance_uid, settings, examiner_digest, project, by=by)
    return True


def _revisions(series: Sequence[PlannedSeries]) -> set[tuple[str, str]]:
    return {(one.series_instance_uid, one.revision_digest) for one in series}


def deidentified_for(settings: Settings, project: str) -> str:
    """The project itself where its copies name nobody; empty where headers stay as they came.

    Raises `DefacingError` where there is no such project.
    """
    policy = policy_of(settings, project)
    if policy.unknown:
        raise DefacingError(policy.unknown)
    return project if policy.rules.deidentify else ""


def manner(settings: Settings, examiner_digest: str, names_of: str) -> str:
    """The way of its copies, and by which networks."""
    return "\n".join((*settings.way_of_copies(names_of), examiner_digest))


def plan_copy(study_instance_uid: str, findings: Sequence[SeriesFinding]) -> CopyPlan:
    """Raises `DefacingError` where the study is unknown, not ready, or without a face."""
    if not findings:
        raise DefacingError(f"nothing was received of a study {study_instance_uid}")
    if any(finding.origin is not None for finding in findings):
        raise DefacingError("it is a copy that this node made: ask for one of its original")
    if unready := [f"series {uid}: {why}" for uid, why in _unready(findings)]:
        raise NotReadyError(f"not ready to be copied, wait: {'; '.join(unready)}")
    others = [finding for finding in findings if not finding.is_own_segmentation]
    left_out = tuple(LeftOut(f.series_instance_uid, why) for f in others if (why := _not_whole(f)))
    whole = [finding for finding in others if not _not_whole(finding)]
    if not any(_shows_a_face(finding) for finding in whole):
        why = "".join(f"; {one.series_instance_uid} {one.sentence}" for one in left_out)
        raise DefacingError(f"no examined series of it shows a face: there is none to remove{why}")
    return CopyPlan(tuple(map(_planned, whole)), left_out)


def _unready(findings: Sequence[SeriesFinding]) -> Iterator[tuple[str, str]]:
    for finding in findings:
        why = _UNDER_WAY.get(finding.state, "")
        if finding.is_being_sent:
            why = "instances may still be on their way into the index"
        if why and not finding.is_own_segmentation:
            yield finding.series_instance_uid, why


def _not_whole(finding: SeriesFinding) -> str:
    """Why nobody can say what a series shows; empty where it was examined as a whole."""
    if finding.missing:
        return finding.missing
    if finding.quarantined:
        return f"{finding.quarantined} objects of it were not accepted"
    if finding.removed_at is not None:
        return f"its {retention.sentence(finding.removed_at)}"
    if finding.state is SeriesState.FAILED:
        return f"its examination failed: {finding.failure}"
    if not finding.volumes:
        return "; ".join(str(each.refusal) for each in finding.refusals) or "it was not examined"
    return ""


def _planned(finding: SeriesFinding) -> PlannedSeries:
    assert finding.revision_id is not None
    assert finding.revision_digest is not None
    return PlannedSeries(
        finding.revision_id,
        finding.revision_digest,
        finding.series_instance_uid,
        tuple(sorted(_unchanged(finding))),
    )


def _unchanged(finding: SeriesFinding) -> Iterator[str]:
    """None where a person said that a face is there, whatever the networks say."""
    if any(one.kind is DecisionKind.NOT_DEFACED for one in finding.decisions):
        return
    for volume in finding.volumes:
        if volume.verdict.kind in _FACELESS:
            yield volume.label


def _shows_a_face(finding: SeriesFinding) -> bool:
    return len(list(_unchanged(finding))) < len(finding.volumes)
