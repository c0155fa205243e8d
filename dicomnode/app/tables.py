"""What the commands show, as rich tables; nothing here decides anything."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dicomnode.domain import GateDecision, GateOutcome, VerdictKind
from dicomnode.tracking.peers import Away
from dicomnode.tracking.pulls import PullState, PullSummary
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.refusals import RefusalCount
from dicomnode.tracking.status import (
    DecisionStatus,
    RefusalStatus,
    SeriesStatus,
    StudyStatus,
    VolumeStatus,
)

if TYPE_CHECKING:  # these import the engine and more, which most commands never need
    from dicomnode.app.demo import DemoResult
    from dicomnode.app.findings import Finding
    from dicomnode.jobs.engine import Job

__all__ = [
    "away",
    "block",
    "demo",
    "findings",
    "gate",
    "jobs",
    "places",
    "printable",
    "pulls",
    "quarantine",
    "refusals",
    "status",
]

_VERDICT_STYLES = {
    VerdictKind.DEFACED.value: "bold green",
    VerdictKind.NO_FACE_IN_VIEW.value: "bold cyan",
    VerdictKind.UNDETERMINED.value: "bold yellow",
    VerdictKind.FACE_VISIBLE.value: "bold red",
}


def status(studies: Sequence[StudyStatus], counts: Sequence[RefusalCount] = ()) -> Group | Text:
    """One table per study, one row per series; below them the counters of refusals."""
    if not studies:
        return Text("nothing received yet")
    below = [refusals(counts)] if counts else []
    return Group(*(_study(study) for study in studies), *below)


def _study(study: StudyStatus) -> Table:
    table = Table(title=f"study {study.study_instance_uid}", title_justify="left", expand=True)
    for heading in ("series", "state", "verdict and reasons", "ml", "SEG"):
        # A number that is cut off would be read as another number.
        table.add_column(heading, overflow="fold", no_wrap=heading == "ml")
    for item in study.series:
        table.add_row(
            _received(item),
            _state(item),
            _answer(item),
            _volumes(item),
            _deliveries(item),
        )
    return table


def _received(item: SeriesStatus) -> str:
    held = f"\n{item.quarantined} in quarantine" if item.quarantined else ""
    return f"{item.modality} {item.series_instance_uid}\n{item.instance_count} instances{held}"


def _state(item: SeriesStatus) -> Text:
    """With the signal that found it complete, and what is known to be missing."""
    signal = item.completed_by.lower().replace("_", " ")
    # What somebody else counts says more than the signal.
    below = item.missing or (f"whole by {signal}" if signal else "")
    lines = (item.state_sentence, below, item.outdated)
    return Text("\n").join(Text(printable(line)) for line in lines if line)


def _answer(item: SeriesStatus) -> Text:
    """The verdict of each volume and what was set aside, or why there is neither."""
    several = len(item.volumes) > 1
    blocks = [
        _verdict(volume, f"{number}. " if several else "")
        for number, volume in enumerate(item.volumes, start=1)
        if volume.verdict
    ]
    partly = bool(item.volumes) or len(item.refusals) > 1
    blocks += [_refusal(refusal, partly) for refusal in item.refusals]
    said = [_said(decision) for decision in item.decisions]
    return Text("\n").join((blocks or [Text(item.failure)]) + said)


def _said(decision: DecisionStatus) -> Text:
    stale = ", of an earlier examination" if decision.is_stale else ""
    said = decision.decision.replace("_", " ")
    return Text(f"{decision.account}: {said}{stale}: {printable(decision.note)}", style="bold")


def _verdict(volume: VolumeStatus, number: str) -> Text:
    label = f"{volume.label}: " if volume.label else ""
    text = Text(printable(number + label))
    text.append(volume.verdict, style=_VERDICT_STYLES[volume.verdict])
    return text.append("".join(f"\n{reason}" for reason in volume.reasons))


def _refusal(refusal: RefusalStatus, partly: bool) -> Text:
    count = f"{refusal.images} image{'' if refusal.images == 1 else 's'} set aside: "
    return Text(f"{count if partly else ''}{refusal.code}\n{printable(refusal.sentence)}")


def _volumes(item: SeriesStatus) -> Text:
    several = len(item.volumes) > 1
    lines = (
        f"{f'{number}. ' if several else ''}{kind.replace('_', ' ')} {ml:.0f}"
        for number, volume in enumerate(item.volumes, start=1)
        for kind, ml in volume.volumes_ml.items()
    )
    return Text("\n".join(lines), no_wrap=True)


def _deliveries(item: SeriesStatus) -> Text:
    lines = (
        f"to {d.destination}: {d.state}{f' ({d.last_error})' if d.last_error else ''}"
        for d in item.deliveries
    )
    return Text("\n".join(lines))


def away(peer: Away) -> Text:
    """One line for a destination that does not answer."""
    since = peer.since.isoformat(timespec="seconds")
    waiting = f"{peer.waiting} deliver{'y waits' if peer.waiting == 1 else 'ies wait'} for it"
    line = f"destination {peer.destination} is away since {since}, {waiting}: {peer.last_error}"
    return Text(printable(line), style="bold yellow")


def refusals(found: Sequence[RefusalCount]) -> Table | Text:
    """How often each code was recorded, ever and in the examinations that count now."""
    if not found:
        return Text("nothing was refused or set aside")
    table = Table(title="refused or set aside", title_justify="left")
    for heading in ("code", "ever", "current"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "code" else "right")
    for item in found:
        table.add_row(item.code, str(item.recorded), str(item.current))
    return table


def gate(decision: GateDecision) -> Group:
    """The decision first, then its reasons, one per line."""
    style = "bold green" if decision.outcome is GateOutcome.RELEASE else "bold red"
    head = Text(decision.outcome.replace("_", " ").upper(), style=style)
    head.append(f"  study {decision.study_instance_uid}", style="not bold default")
    lines = (*decision.reasons, *(f"by the way: {remark}" for remark in decision.remarks))
    return Group(head, *(Text(f"  {printable(line)}") for line in lines))


def jobs(found: Sequence[Job]) -> Text:
    """Each id on a line of its own, whole at any width: it is there to be copied."""
    blocks = (
        block(
            job.id,
            f"{job.state}, {job.attempts} attempt{'' if job.attempts == 1 else 's'}",
            f"next {job.next_attempt_at.isoformat(timespec='seconds')}"
            if job.next_attempt_at
            else "",
            job.subject,
            job.error,
        )
        for job in found
    )
    return Text("\n").join(blocks) if found else Text("no job waits, runs or failed")


def quarantine(found: Sequence[QuarantinedObject]) -> Text:
    """One block per object: why it was not accepted, what it is, who sent it and when."""
    blocks = (
        block(
            item.name,
            f"{item.reason}: {item.sentence}",
            f"study {item.study_instance_uid}" if item.study_instance_uid else "",
            f"series {item.series_instance_uid}" if item.series_instance_uid else "",
            f"instance {item.sop_instance_uid}" if item.sop_instance_uid else "",
            f"from {item.calling_ae_title or 'unknown'} at {item.peer_address or 'unknown'}, "
            f"{item.at.isoformat(timespec='seconds')}, {item.size_bytes} bytes",
        )
        for item in found
    )
    return Text("\n").join(blocks) if found else Text("nothing is in quarantine")


def pulls(summary: PullSummary, again: str) -> Text:
    """The studies that are not here with what is wrong, the counts, and the command to go on."""
    text = Text()
    for pull in summary.studies:
        if pull.state is not PullState.DONE:
            head = f"{pull.study_instance_uid}: {pull.state}"
            text.append_text(block(head, pull.last_error)).append("\n")
    counts = ", ".join(f"{count} {state}" for state, count in summary.counts.items())
    instances = sum(pull.received_instances for pull in summary.studies)
    counts += f"; {instances} instance{'s' * (instances != 1)} here"
    text.append(counts if summary.studies else f"nothing is left to pull from {summary.source}")
    if summary.unfinished:
        text.append(f"\ngo on: {again}")
    if summary.given_up:
        text.append(f"\n{summary.given_up} failed too often; name them with --study to try again")
    return text


def block(head: str, *lines: str) -> Text:
    """What people copy first, bold on a terminal; below it what is known, indented."""
    known = "".join(f"\n  {printable(line)}" for line in lines if line)
    return Text(printable(head), style="bold").append(known, style="not bold")


def printable(line: str) -> str:
    """Peers choose AE titles and parts of errors: none of it may steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in line)


def findings(found: Iterable[Finding]) -> Table:
    table = Table(show_header=False, box=None)
    for finding in found:
        mark = Text("ok", style="green") if finding.ok else Text("PROBLEM", style="bold red")
        if finding.ok and finding.is_warning:
            mark = Text("soon", style="yellow")
        table.add_row(mark, finding.subject, Text(finding.sentence, overflow="fold"))
    return table


def demo(result: DemoResult) -> Group:
    """One table: what was sent, what the node says, what the PACS got, whether it may leave."""
    table = Table(title=f"dicomnode demo, {result.seconds:.0f} s", expand=True, show_lines=True)
    table.add_column("series", overflow="fold", ratio=2)
    table.add_column("verdict and reasons", overflow="fold", ratio=4)
    table.add_column("ml", no_wrap=True)
    table.add_column("SEG in PACS", justify="right")
    table.add_column("gate", no_wrap=True)
    decisions = {decision.study_instance_uid: decision for decision in result.decisions}
    for study in result.studies:
        outcome = decisions[study.study_instance_uid].outcome
        for item in study.series:
            table.add_row(
                result.descriptions.get(item.series_instance_uid)
                or f"{item.modality} {item.series_instance_uid}",
                _answer(item),
                _volumes(item),
                _arrived(item, result.segs_in_pacs[item.series_instance_uid]),
                Text(outcome.upper(), style="green" if outcome is GateOutcome.RELEASE else "red"),
            )
    return Group(table, *(gate(decision) for decision in result.decisions))


def _arrived(item: SeriesStatus, count: int) -> str:
    """How many SEGs the PACS has of a series, and the segments that were sent."""
    if not item.deliveries:
        return "none found"
    by_seg = {delivery.sop_instance_uid: delivery.segments for delivery in item.deliveries}
    segments = sum(map(len, by_seg.values()))
    return f"{count} ({segments} segment{'s' if segments > 1 else ''})"


def places(result: DemoResult, program: str) -> str:
    """Where everything lies; the last line runs as it stands."""
    pictures = "\n".join(f"  {path}" for paths in result.pictures.values() for path in paths)
    logs = "\n".join(f"  {path}" for path in result.logs)
    return (
        f"\nPictures of each head with its masks:\n{pictures}\n"
        f"Files: what was sent, the node's and the PACS's folders:\n  {result.folder}\n"
        f"Logs:\n{logs}\n"
        "Ask the node yourself:\n"
        f"  {program} status --config {shlex.quote(str(result.folder / 'node.toml'))}"
    )
