"""What the gate, people's decisions, receipts and the audit log look like on a screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from dicomnode.app.tables import block, gate, printable
from dicomnode.domain import GateOutcome
from dicomnode.tracking.audit import AuditEvent
from dicomnode.tracking.audit_chain import AuditCheck
from dicomnode.tracking.decisions import HumanDecision
from dicomnode.tracking.receipts import StoredReceipt

if TYPE_CHECKING:  # these import more than most commands need
    from dicomnode.gate.folder import FolderDecision
    from dicomnode.gate.verification import Verification


def receipts(found: Sequence[StoredReceipt]) -> Text:
    blocks = (
        block(
            f"{item.number}  {item.outcome}",
            f"study {item.study_instance_uid}",
            f"{item.at.isoformat(timespec='seconds')}, project {item.project}",
            f"SHA-256 {item.sha256}",
        )
        for item in found
    )
    return Text("\n").join(blocks) if found else Text("no receipt was issued")


def verification(found: Verification) -> Text:
    """The answer first; then what is wrong; then what the receipts say, and what was not given."""
    counts = Counter(file.state.value for file in found.files)
    wrong = [file for file in found.files if file.state.value != "released"]
    lines = [
        *found.faults,
        *(f"{file.path}: {file.state} {file.sop_instance_uid}" for file in wrong),
        *(
            f"receipt {item.number}: {item.outcome} of study {item.study_instance_uid} "
            f"at {item.at.isoformat(timespec='seconds')} for project {item.project} "
            f"by {item.by if isinstance(item.by, str) else f'{item.by.account}: {item.by.note}'}"
            for item in found.receipts
        ),
        *(f"{gap} in between: not given, so the chain is not checked there" for gap in found.gaps),
    ]
    if not found.files:
        lines.append("no files were given: only the receipts were checked")
    else:
        lines.append(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
        lines.append(
            f"of {len(found.missing)} instances no file was given" if found.missing else ""
        )
    proven = "PROVEN" if found.files else "GENUINE"
    return block(proven if found.is_proven else "NOT PROVEN", *lines)


def audit(events: Sequence[AuditEvent]) -> Text:
    """One block per event: its number and name, then when, of what, and what else is known."""
    blocks = (
        block(
            f"{event.number}  {event.event}",
            f"{event.at.isoformat(timespec='seconds')}  {event.subject}",
            ", ".join(f"{key}: {value}" for key, value in event.detail.items()),
        )
        for event in events
    )
    return Text("\n").join(blocks) if events else Text("no such event")


def audit_check(found: AuditCheck) -> Text:
    if found.fault:
        return Text(f"BROKEN  {found.fault}; the {found.rows} before it are right")
    return Text(f"whole: {found.rows} rows, the last with SHA-256 {found.sha256}")


def gate_folder(folder: Path, decision: FolderDecision) -> Group:
    """The decision first, then the files that hold, then the studies that the others are of."""
    style = "bold green" if decision.outcome is GateOutcome.RELEASE else "bold red"
    head = Text(decision.outcome.upper(), style=style)
    count = sum(decision.files.values())
    head.append(
        f"  folder {printable(str(folder))}: {count} examined files of {len(decision.studies)} "
        f"studies, {len(decision.holding)} files that hold",
        style="not bold default",
    )
    files = (Text(f"  {printable(one.name)}: {one.sentence}") for one in decision.holding)
    reasons = (Text(f"  {reason}") for reason in decision.reasons)
    return Group(head, *reasons, *files, *map(gate, decision.studies))


def decisions(found: Sequence[HumanDecision], examination_now: int | None) -> Text:
    """Everything that was said of a series, the oldest first, and what can be decided on now."""
    blocks = [
        block(
            f"{one.account}: {one.kind.replace('_', ' ')}",
            one.note,
            f"{one.at.isoformat(timespec='seconds')}, examination {one.examination_id}",
        )
        for one in found
    ]
    counts = f"examination {examination_now} counts now" if examination_now is not None else ""
    below = counts or "there is no examination to decide on now"
    return Text("\n").join((*(blocks or [Text("nobody has decided")]), Text(below)))
