"""What exports, the ledger and what waits at the gate look like on a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from dicomnode.app.tables import block, printable
from dicomnode.tracking.exports import ExportedStudy, LeftInstance
from dicomnode.tracking.held import HeldObject

if TYPE_CHECKING:
    from dicomnode.export.run import ExportSummary
    from dicomnode.export.study import StudyResult


def result(found: StudyResult) -> Text:
    """A study that did not leave, or not whole, and why."""
    left = f", {found.instances} instances left" if found.instances else ""
    return block(f"{found.outcome}  study {found.study_instance_uid}{left}", *found.reasons)


def summary(found: ExportSummary) -> Text:
    counts = [f"{count} {outcome}" for outcome, count in sorted(found.studies.items())]
    studies = ", ".join(counts) or "none"
    lines = [f"studies: {studies}; {found.instances} instances left now"]
    if found.away:
        lines.append(f"ended early: {found.away}; start it again to go on")
    return Text("\n".join(printable(line) for line in lines))


def ledger(found: Sequence[ExportedStudy]) -> Text:
    blocks = (
        block(
            f"{item.id}  {item.state}",
            f"study {item.study_instance_uid}",
            f"{item.left_count} of {item.instance_count} instances to {item.destination}, "
            f"project {item.project}, receipt {item.receipt_number}, by {item.account}",
            _times(item),
        )
        for item in found
    )
    return Text("\n").join(blocks) if found else Text("nothing has left")


def entry(found: ExportedStudy, left: Sequence[LeftInstance]) -> Text:
    instances = (f"{one.sop_instance_uid}  {one.at.isoformat(timespec='seconds')}" for one in left)
    return Text("\n").join((ledger([found]), *map(Text, instances)))


def waiting(found: Sequence[HeldObject]) -> Text:
    blocks = (
        block(
            f"{item.id}  {item.state}",
            f"instance {item.file.sop_instance_uid} of study {item.file.study_instance_uid}",
            f"{item.at.isoformat(timespec='seconds')}, project {item.file.project}, "
            f"{item.file.size_bytes} bytes from {item.file.calling_ae_title} at "
            f"{item.file.peer_address}",
            item.reason,
        )
        for item in found
    )
    return Text("\n").join(blocks) if found else Text("nothing waits at the gate")


def _times(item: ExportedStudy) -> str:
    began = item.started_at.isoformat(timespec="seconds")
    if item.left_at is None:
        return f"began {began}"
    return f"began {began}, left {item.left_at.isoformat(timespec='seconds')}"
