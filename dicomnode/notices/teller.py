"""The loop that tells people, beside the examinations and never in their way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from dicomnode.config import Settings
from dicomnode.errors import ConfigurationError, NoticeError
from dicomnode.gate import asking
from dicomnode.notices.mail import Mail
from dicomnode.notices.message import Message, message_of
from dicomnode.notices.webhook import Webhook
from dicomnode.tracking import notices
from dicomnode.tracking.database import Database
from dicomnode.tracking.notices import Place, Topic, Untold

log = logging.getLogger("dicomnode.notices")

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)


class Channel(Protocol):
    """A way to people. Its name stands in the database: another name tells everything anew."""

    name: str

    def send(self, message: Message) -> None:
        """Raises `NoticeError`."""

    def probe(self) -> str:
        """A sentence that it can be reached; raises `NoticeError`."""


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    email, webhook = settings.notifications.email, settings.notifications.webhook
    found: list[Channel] = []
    if email is not None:
        found.append(Mail(email))
    if webhook is not None:
        found.append(Webhook(webhook))
    return tuple(found)


@dataclass
class _Progress:
    """Of one channel: up to which keys was looked, and when a failed message is tried again."""

    places: Mapping[Topic, Place] = field(default_factory=dict)
    delay: timedelta = FIRST_RETRY
    not_before: datetime | None = None

    def may_try(self, now: datetime) -> bool:
        """A time that is further away than any pause is of before the clock was set back."""
        return self.not_before is None or not now < self.not_before <= now + LONGEST_RETRY


class Teller:
    """Each channel by itself: one that is away holds up none of the others.

    A message that was sent by a process that died before it was written down is sent again.
    `settings` may change, but for the channels.
    """

    def __init__(self, settings: Settings, database: Database, channels: Sequence[Channel]) -> None:
        self.settings = settings
        self._database = database
        self._channels = {channel: _Progress() for channel in channels}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; an error is logged, and the next round tries again."""
        while True:
            try:
                self.round(datetime.now(UTC))
            except Exception:  # the edge of the loop: a database that is away comes back
                log.exception("a round of the notifications failed")
            if stop.wait(self.settings.notifications.poll_seconds):
                return

    def round(self, now: datetime) -> None:
        for channel, progress in self._channels.items():
            found = self._waiting(channel, progress, now)
            if found is not None and progress.may_try(now):
                self._tell(channel, progress, found, now)

    def _waiting(self, channel: Channel, progress: _Progress, now: datetime) -> Untold | None:
        """What has to be told now; None while it may wait to be told with more."""
        told = self.settings.notifications
        asked = asking.review_filter(self.settings)
        wanted = replace(asked, kinds=told.verdicts, codes=())
        with self._database.begin() as connection:
            progress.places = notices.note(connection, channel.name, progress.places, wanted, now)
        due = now - timedelta(hours=told.digest_hours)
        with self._database.read() as connection:
            return notices.untold(connection, channel.name, wanted, due, now)

    def _tell(self, channel: Channel, progress: _Progress, found: Untold, now: datetime) -> None:
        try:
            if found.counts:  # else all was settled meanwhile
                channel.send(message_of(found, self.settings, now))
        except (NoticeError, ConfigurationError) as error:  # a secret's file is gone, or wrong
            log.warning("notification failed", extra={"channel": channel.name, "why": str(error)})
            progress.not_before = now + progress.delay
            progress.delay = min(2 * progress.delay, LONGEST_RETRY)
            return
        progress.delay = FIRST_RETRY
        with self._database.begin() as connection:
            notices.mark_told(connection, channel.name, found, now)


def start_telling(settings: Settings, database: Database, stop: threading.Event) -> Teller:
    """In a thread that ends with the process; in none where no channel is configured."""
    channels = channels_of(settings)
    teller = Teller(settings, database, channels)
    if channels:
        threading.Thread(target=teller.run, args=(stop,), name="notices", daemon=True).start()
    return teller
