"""What the page of a series shows, from what the database knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dicomnode.domain import ExaminedVolume, Role, SetAside
from dicomnode.tracking import retention
from dicomnode.tracking.decisions import DecisionKind, HumanDecision
from dicomnode.tracking.findings import SeriesFinding, SeriesState
from dicomnode.tracking.status import STATE_SENTENCES
from dicomnode.tracking.study_copies import CopyOrigin
from dicomnode.web.desk import templating
from dicomnode.web.desk.copies import ProvenCopy
from dicomnode.web.desk.facts import Fact
from dicomnode.web.desk.neighbours import Neighbours, series_href
from dicomnode.web.desk.volume_view import VolumeView, volume_view
from dicomnode.web.permissions import Permission, may

VOLUMES_AT_A_TIME = 8


@dataclass(frozen=True)
class Choice:
    """A decision that can be taken, and the key that chooses it."""

    value: str
    key: str
    label: str
    hint: str


CHOICES = (
    Choice(DecisionKind.DEFACED, "d", "Defaced", "No face can be recognised in any volume."),
    Choice(DecisionKind.NOT_DEFACED, "f", "Not defaced", "A face, or enough of one, is there."),
    Choice(
        DecisionKind.NOT_APPLICABLE,
        "a",
        "Not applicable",
        "There is no face here: a knee, a spine.",
    ),
)


@dataclass(frozen=True)
class Given:
    """What somebody had filled in, when the form comes back: never the decision, so they look."""

    note: str = ""
    then: bool = True


@dataclass(frozen=True)
class Link:
    href: str
    label: str


@dataclass(frozen=True)
class Said:
    """One row of the history; `standing` says why it no longer counts, if it doesn't."""

    kind: str
    account: str
    at: datetime
    note: str
    standing: str


@dataclass(frozen=True)
class DecisionForm:
    """`examination_id` is what is seen; `may_not_decide` is a sentence where there is no form."""

    href: str
    examination_id: int
    given: Given
    may_not_decide: str
    may_revoke: bool
    choices: Sequence[Choice] = CHOICES


@dataclass(frozen=True)
class SeriesPage:
    """All that the page shows; `form` is there even where nobody may decide."""

    study_uid: str
    series_uid: str
    modality: str
    instances: str
    state: str
    state_sentence: str
    verdict: str
    warnings: Sequence[str]
    volumes: Sequence[VolumeView]
    more_volumes: Sequence[Link]
    refusals: Sequence[SetAside]
    thresholds: Sequence[Fact]
    history: Sequence[Said]
    form: DecisionForm
    beside: Neighbours
    copy: ProvenCopy | None
    copies: Sequence[CopyOrigin]
    ohif_url: str
    error: str


def shown_volumes(finding: SeriesFinding, first: int, role: Role) -> tuple[VolumeView, ...]:
    """Some from the number `first` on; an fMRI has hundreds."""
    with_pictures = may(role, Permission.SEE_PICTURES)
    count = len(finding.volumes)
    some: Sequence[ExaminedVolume] = finding.volumes[first - 1 : first - 1 + VOLUMES_AT_A_TIME]
    return tuple(
        volume_view(
            volume,
            number,
            count,
            finding.examination_id or 0,
            with_pictures=with_pictures,
            is_first=number == first,
        )
        for number, volume in enumerate(some, start=first)
    )


def more_volumes(finding: SeriesFinding, first: int, href: str) -> tuple[Link, ...]:
    count, links = len(finding.volumes), []
    if first > 1:
        start = max(1, first - VOLUMES_AT_A_TIME)
        links.append(Link(f"{href}?volume={start}", f"Volumes {start} to {first - 1}"))
    if (start := first + VOLUMES_AT_A_TIME) <= count:
        end = min(count, start + VOLUMES_AT_A_TIME - 1)
        links.append(Link(f"{href}?volume={start}", f"Volumes {start} to {end} of {count}"))
    return tuple(links)


def warnings(finding: SeriesFinding, outdated: str) -> tuple[str, ...]:
    """What keeps the study back whatever the pictures show, and what was not seen."""
    newer = finding.has_newer_instances and finding.examination_id is not None
    held = finding.quarantined
    sentences = (
        "Instances arrived after this examination: it no longer counts." if newer else "",
        f"Missing: {finding.missing}." if finding.missing else "",
        f"The verdict is {outdated}." if outdated else "",
        f"{templating.count(held, 'object')} in quarantine belong to it." if held else "",
        f"The examination failed: {finding.failure}" if finding.failure else "",
        f"Its {retention.sentence(finding.removed_at)}." if finding.removed_at else "",
        "Some of its images were set aside and were not examined; see below."
        if finding.refusals and finding.volumes
        else "",
    )
    return tuple(sentence for sentence in sentences if sentence)


def why_no_decision(finding: SeriesFinding, role: Role) -> str:
    """Empty where the account may decide now."""
    if not may(role, Permission.DECIDE):
        return f"Your role, {role.value}, does not decide on series."
    if finding.is_own_segmentation:
        return "These are masks that the node made: there is nothing to decide."
    if finding.has_newer_instances and finding.examination_id is not None:
        return "Instances arrived after the examination: wait for the next one."
    if finding.state not in (SeriesState.EXAMINED, SeriesState.REFUSED):
        return f"There is nothing to decide on yet: {STATE_SENTENCES[finding.state]}."
    return ""


def said(history: Sequence[HumanDecision], finding: SeriesFinding) -> tuple[Said, ...]:
    """Newest first."""
    last: Mapping[str, int] = {one.account: one.id for one in history}
    return tuple(
        Said(one.kind, one.account, one.at, one.note, _standing(one, last, finding))
        for one in reversed(history)
    )


def _standing(one: HumanDecision, last: Mapping[str, int], finding: SeriesFinding) -> str:
    if last[one.account] != one.id:
        return "said something else later"
    if one.kind is DecisionKind.REVOKED:
        return ""
    is_fresh = one.is_of(finding.revision_digest, finding.examination_id)
    return "" if is_fresh else "of an earlier examination"


def decision_form(finding: SeriesFinding, account: str, role: Role, given: Given) -> DecisionForm:
    """What an account may say of the series now."""
    stands = any(one.account == account for one in finding.decisions)
    href = series_href(finding.study_instance_uid, finding.series_instance_uid)
    return DecisionForm(
        href=f"{href}/decisions",
        examination_id=finding.examination_id or 0,
        given=given,
        may_not_decide=why_no_decision(finding, role),
        may_revoke=stands and may(role, Permission.DECIDE),
    )
