"""How the desk names what the node knows: a label, an icon and a tone for each code.

The tone is a class of the style sheet. It never stands alone: every badge has its icon and words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicomnode.domain import CopyState, DeliveryState, GateOutcome, SegmentKind, VerdictKind
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.exports import ExportState
from dicomnode.tracking.findings import SeriesState
from dicomnode.tracking.held import HeldState


@dataclass(frozen=True)
class Badge:
    """`icon` is one of those in `templates/icons.html`, `tone` a class of the style sheet."""

    label: str
    icon: str
    tone: str


VERDICTS: Mapping[str, Badge] = {
    VerdictKind.DEFACED: Badge("defaced", "check", "good"),
    VerdictKind.NO_FACE_IN_VIEW: Badge("no face in view", "frame", "calm"),
    VerdictKind.UNDETERMINED: Badge("undetermined", "question", "doubt"),
    VerdictKind.FACE_VISIBLE: Badge("face visible", "face", "bad"),
}
STATES: Mapping[str, Badge] = {
    SeriesState.NOT_RECEIVED: Badge("not received", "absent", "doubt"),
    SeriesState.RECEIVING: Badge("receiving", "arrow", "calm"),
    SeriesState.WAITING: Badge("waiting", "clock", "calm"),
    SeriesState.EXAMINING: Badge("being examined", "clock", "calm"),
    SeriesState.EXAMINED: Badge("examined", "check", "calm"),
    SeriesState.REFUSED: Badge("no volume", "absent", "doubt"),
    SeriesState.FAILED: Badge("failed", "cross", "bad"),
}
OUTCOMES: Mapping[str, Badge] = {
    GateOutcome.RELEASE: Badge("may leave", "open", "good"),
    GateOutcome.HOLD: Badge("held", "lock", "doubt"),
    GateOutcome.UNKNOWN_STUDY: Badge("unknown study", "absent", "bad"),
}
DECISIONS: Mapping[str, Badge] = {
    DecisionKind.DEFACED: Badge("defaced", "check", "good"),
    DecisionKind.NOT_DEFACED: Badge("not defaced", "face", "bad"),
    DecisionKind.NOT_APPLICABLE: Badge("not applicable", "frame", "calm"),
    DecisionKind.REVOKED: Badge("taken back", "cross", "calm"),
}
DELIVERIES: Mapping[str, Badge] = {
    DeliveryState.PENDING: Badge("waiting to be sent", "clock", "calm"),
    DeliveryState.STORED: Badge("sent, not proven yet", "clock", "calm"),
    DeliveryState.DELIVERED: Badge("delivered", "check", "good"),
    DeliveryState.REFUSED: Badge("refused", "cross", "bad"),
    DeliveryState.CANCELLED: Badge("cancelled", "absent", "calm"),
}
EXPORTS: Mapping[str, Badge] = {
    ExportState.LEAVING: Badge("leaving", "arrow", "doubt"),
    ExportState.LEFT: Badge("left", "check", "good"),
    ExportState.STOPPED: Badge("stopped", "cross", "bad"),
}
HELD: Mapping[str, Badge] = {
    HeldState.WAITING: Badge("waits", "clock", "doubt"),
    HeldState.CHANGED: Badge("can never leave", "cross", "bad"),
    HeldState.FORWARDED: Badge("forwarded", "check", "good"),
    HeldState.DISCARDED: Badge("discarded", "absent", "calm"),
}
COPIES: Mapping[str, Badge] = {
    CopyState.ASKED: Badge("asked for", "clock", "calm"),
    CopyState.QUEUED: Badge("waiting to be made", "clock", "calm"),
    CopyState.RUNNING: Badge("being made", "arrow", "calm"),
    CopyState.DONE: Badge("made", "check", "calm"),
    CopyState.FAILED: Badge("failed", "cross", "bad"),
    CopyState.CANCELLED: Badge("cancelled", "absent", "calm"),
}
SEGMENTS: Mapping[str, str] = {
    SegmentKind.FOREGROUND: "foreground (all anatomy)",
    SegmentKind.ANONYMISED_AREA: "anonymised area",
    SegmentKind.FACE: "face that is still there",
}
TABLES: Mapping[str, Mapping[str, Badge]] = {
    "verdict": VERDICTS,
    "state": STATES,
    "outcome": OUTCOMES,
    "decision": DECISIONS,
    "delivery": DELIVERIES,
    "export": EXPORTS,
    "held": HELD,
    "copy": COPIES,
}


def badge(table: str, code: str) -> Badge:
    """A code that no table knows is shown as it stands, as a doubt."""
    return TABLES[table].get(code, Badge(code.replace("_", " "), "question", "doubt"))
