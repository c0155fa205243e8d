"""What each part of the queue is called, and what it means for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicomnode.tracking.work_queue import QueueKind

REVIEW = "review"


@dataclass(frozen=True)
class PartWords:
    """`what` heads the column of signal, destination or reason; `icon`, `tone`: see `words`."""

    title: str
    explained: str
    what: str
    icon: str
    tone: str


REVIEW_WORDS = PartWords(
    "Wait for a person",
    "Open the first one and decide; the next one follows.",
    "Verdict",
    "person",
    "doubt",
)
# In the order of the page: first what a person has to do something about.
PARTS: Mapping[QueueKind, PartWords] = {
    QueueKind.FAILED: PartWords(
        "Examination failed",
        "The gate holds their studies. dicomnode jobs retry, or dicomnode reexamine, tries again.",
        "Version",
        "cross",
        "bad",
    ),
    QueueKind.DELIVERY_REFUSED: PartWords(
        "Delivery refused",
        "The destination will not take these masks: look at its configuration, then dicomnode jobs "
        "retry.",
        "Destination",
        "cross",
        "bad",
    ),
    QueueKind.QUARANTINE: PartWords(
        "Not accepted",
        "Objects in quarantine hold the studies that they belong to.",
        "Reason",
        "lock",
        "doubt",
    ),
    QueueKind.DELIVERY_FAILING: PartWords(
        "Delivery is tried again", "Nothing has to be done yet.", "Destination", "clock", "doubt"
    ),
    QueueKind.PULL: PartWords(
        "Not all was pulled", "dicomnode pull --resume goes on.", "Source", "absent", "doubt"
    ),
    QueueKind.EXPECTED: PartWords(
        "Named by others, never received",
        "Somebody says that these series exist; nothing of them came.",
        "Here",
        "absent",
        "doubt",
    ),
    QueueKind.RECEIVING: PartWords("Arriving", "Nothing has to be done.", "Here", "arrow", "calm"),
    QueueKind.WAITING: PartWords(
        "Wait for their examination", "Nothing has to be done.", "Whole by", "clock", "calm"
    ),
    QueueKind.EXAMINING: PartWords(
        "Being examined", "Nothing has to be done.", "Whole by", "clock", "calm"
    ),
}
