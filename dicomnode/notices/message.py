"""What a message says: counts, kinds and a link; Study Instance UIDs where a site wants them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dicomnode.config import Settings
from dicomnode.tracking.notices import Topic, Untold

_SENTENCES = {
    Topic.FAILED: ("examination failed", "examinations failed"),
    Topic.REFUSED: ("delivery was given up", "deliveries were given up"),
    Topic.QUARANTINED: ("object was not accepted", "objects were not accepted"),
    Topic.NEEDS_PERSON: ("series waits for a person", "series wait for a person"),
    Topic.COPY_FAILED: ("copy without faces failed", "copies without faces failed"),
    Topic.COPY_HELD: (
        "series of a copy is held: its proof is not given",
        "series of copies are held: their proof is not given",
    ),
    Topic.DISK: ("warning that the disk fills", "warnings that the disk fills"),
}


@dataclass(frozen=True)
class Message:
    """For people `title` and `text`, for programs `values`."""

    title: str
    text: str
    values: dict[str, Any]


def message_of(found: Untold, settings: Settings, now: datetime) -> Message:
    node, wanted = settings.scp.ae_title, settings.notifications
    lines = [f"{count} {_SENTENCES[topic][count != 1]}" for topic, count in found.counts.items()]
    studies = found.studies if wanted.study_uids else ()
    named = ["", "Studies:", *studies] if studies else []
    link = ["", wanted.link] if wanted.link else []
    return Message(
        title=f"dicomnode {node}: {', '.join(lines)}",
        text="\n".join(("New since the last message:", "", *lines, *named, *link)) + "\n",
        values={
            "node": node,
            "at": now.isoformat(timespec="seconds"),
            "waiting": {topic.value: count for topic, count in found.counts.items()},
            "studies": list(studies),
            "link": wanted.link,
        },
    )


def trial_message(settings: Settings, now: datetime) -> Message:
    node = settings.scp.ae_title
    return Message(
        title=f"dicomnode {node}: a test",
        text="This is a test of the notifications. Nothing waits because of it.\n",
        values={
            "node": node,
            "at": now.isoformat(timespec="seconds"),
            "waiting": {},
            "studies": [],
            "link": settings.notifications.link,
        },
    )
