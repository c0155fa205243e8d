"""Each thing is told once, not before its time, again after a failure, and without a patient."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dicomnode.config import Settings
from dicomnode.config_notices import WebhookSettings
from dicomnode.domain import CopyState, SeriesCopy, VerdictKind
from dicomnode.errors import NoticeError
from dicomnode.notices.message import Message
from dicomnode.notices.teller import Teller, channels_of, start_telling
from dicomnode.notices.webhook import Webhook
from dicomnode.tracking import (
    audit,
    copied_series,
    decisions,
    deliveries,
    examinations,
    instances,
    notices,
    quarantine,
    series,
    study_copies,
)
from dicomnode.tracking.database import Database
from dicomnode.tracking.decisions import DecisionKind
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.reviews import ReviewFilter
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.study_copies import PlannedSeries
from tests.mail_server import mail_server
from tests.unit.tracking.copies import volume_copy
from tests.unit.tracking.plans import query_plans
from tests.unit.tracking.rows import examined, instance

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT_ONCE = Settings.model_validate({"notifications": {"digest_hours": 0}})


class Heard:
    """A channel of the test; it fails while it is `away`."""

    def __init__(self, name: str = "heard") -> None:
        self.name = name
        self.messages: list[Message] = []
        self.away = False
        self.attempts = 0

    def send(self, message: Message) -> None:
        self.attempts += 1
        if self.away:
            raise NoticeError("away")
        self.messages.append(message)

    def probe(self) -> str:
        return "here"

    @property
    def counts(self) -> list[dict[str, int]]:
        return [message.values["waiting"] for message in self.messages]


class Site:
    """A database in which things happen."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self.database = database
        self._spool = spool
        self._count = 0

    def examine(self, kind: VerdictKind | None) -> str:
        """One more series, with this verdict, or with a failed examination; its UID."""
        self._count += 1
        uid = f"1.2.{self._count}"
        with self.database.begin() as c:
            instances.add(c, [instance(self._count, series=f"{uid}.1", study=uid)])
            revision = series.add_revision(c, self._count, self._spool, NOW)
            assert revision is not None
            if kind is None:
                examinations.record_failure(c, revision.id, "Doe^Jane can't be read")
            else:
                examination = examined(revision, kind)
                (volume,) = examination.volumes
                seg = replace(volume.segmentation, sop_instance_uid=f"2.25.{self._count}")
                volume = replace(volume, segmentation=seg)
                key = examinations.record(c, revision.id, replace(examination, volumes=(volume,)))
                (delivery,) = deliveries.add(c, key, "pacs")
                self.last_delivery = delivery
        return uid

    def refuse_delivery(self) -> None:
        with self.database.begin() as c:
            deliveries.mark_refused(c, self.last_delivery, "no")

    def quarantine(self) -> None:
        self._count += 1
        with self.database.begin() as c:
            quarantine.add(
                c, [QuarantinedObject(NOW, f"q{self._count}", "conflict", "other pixels", 1)]
            )


@pytest.fixture
def site(database: Database, spool: Spool) -> Site:
    return Site(database, spool)


def teller(site: Site, *channels: Heard, settings: Settings = AT_ONCE) -> Teller:
    made = Teller(settings, site.database, channels)
    made.round(NOW)  # begins here
    return made


def test_whatever_waits_or_failed_is_told_once(site: Site) -> None:
    channel = Heard()
    node = teller(site, channel)
    for kind in (VerdictKind.FACE_VISIBLE, VerdictKind.UNDETERMINED, VerdictKind.DEFACED, None):
        site.examine(kind)
    site.examine(VerdictKind.DEFACED)
    site.refuse_delivery()
    site.quarantine()
    node.round(NOW)
    node.round(NOW)
    expected = {"failed": 1, "refused": 1, "quarantined": 1, "needs_person": 2}
    assert channel.counts == [expected]
    with site.database.read() as c:
        (event,) = audit.newest(c, event="people notified")
    assert event.detail == expected


def test_a_copy_that_failed_or_is_held_is_told_once(site: Site) -> None:
    channel = Heard()
    node = teller(site, channel)
    plan = (PlannedSeries(1, "ab" * 32, "1.2.1.1", ()),)
    with site.database.begin() as c:
        failed, held, proven = (
            study_copies.ask(c, f"1.2.{n}", f"2.25.{n}", plan, [], by="anna") for n in (1, 2, 3)
        )
        copied_series.record(c, proven.id, [SeriesCopy("1.2.3.1", (volume_copy("2.25.31"),))], [])
    node.round(NOW)
    with site.database.begin() as c:
        study_copies.set_state(c, failed.id, CopyState.RUNNING)
        study_copies.set_state(c, failed.id, CopyState.FAILED, sentence="no brain was found")
        made = SeriesCopy("1.2.2.1", (volume_copy("2.25.21", "a nose"),))
        copied_series.record(c, held.id, [made], [])
    for _ in range(2):
        node.round(NOW)
    assert channel.counts == [{"copy_failed": 1, "copy_held": 1}]
    assert "brain" not in channel.messages[0].text


def test_a_restart_tells_nothing_again_and_forgets_nothing(site: Site) -> None:
    first, second = Heard(), Heard()
    node = teller(site, first)
    site.examine(None)
    node.round(NOW)
    site.examine(VerdictKind.UNDETERMINED)
    Teller(AT_ONCE, site.database, [second]).round(NOW)
    assert first.counts == [{"failed": 1}]
    assert second.counts == [{"needs_person": 1}]


def test_what_was_there_before_anybody_was_told_is_not_told(site: Site) -> None:
    site.examine(None)
    site.examine(VerdictKind.FACE_VISIBLE)
    channel = Heard()
    teller(site, channel).round(NOW)
    assert channel.counts == []


def test_a_delivery_that_is_refused_late_is_told(site: Site) -> None:
    site.examine(VerdictKind.DEFACED)
    channel = Heard()
    node = teller(site, channel)
    node.round(NOW)
    site.refuse_delivery()
    node.round(NOW)
    assert channel.counts == [{"refused": 1}]


def test_a_digest_waits_until_its_oldest_thing_is_old_enough(site: Site) -> None:
    channel = Heard()
    hours = Settings.model_validate({"notifications": {"digest_hours": 2}})
    node = teller(site, channel, settings=hours)
    site.examine(None)
    node.round(NOW)
    site.examine(None)
    node.round(NOW + timedelta(hours=1))
    assert channel.counts == []
    node.round(NOW + timedelta(hours=2))
    assert channel.counts == [{"failed": 2}]


def test_a_clock_that_was_set_back_keeps_nobody_waiting_for_hours(site: Site) -> None:
    channel = Heard()
    hours = Settings.model_validate({"notifications": {"digest_hours": 2}})
    node = teller(site, channel, settings=hours)
    site.examine(None)
    channel.away = True
    node.round(NOW)
    node.round(NOW + timedelta(hours=2))
    channel.away = False
    node.round(NOW - timedelta(hours=10))
    assert channel.counts == [{"failed": 1}]


def test_what_was_settled_before_it_was_told_is_not_told(site: Site) -> None:
    channel = Heard()
    hours = Settings.model_validate({"notifications": {"digest_hours": 2}})
    node = teller(site, channel, settings=hours)
    for _ in range(2):
        uid = site.examine(VerdictKind.UNDETERMINED)
    node.round(NOW)
    with site.database.begin() as c:
        decisions.record(c, f"{uid}.1", DecisionKind.DEFACED, account="anna", note="seen", now=NOW)
    node.round(NOW + timedelta(hours=2))
    assert channel.counts == [{"needs_person": 1}]
    node.round(NOW + timedelta(hours=9))
    assert len(channel.counts) == 1


def test_a_decision_that_was_taken_back_silences_nothing(site: Site) -> None:
    channel = Heard()
    node = teller(site, channel)
    uid = site.examine(VerdictKind.UNDETERMINED)
    with site.database.begin() as c:
        for kind in (DecisionKind.DEFACED, DecisionKind.REVOKED):
            decisions.record(c, f"{uid}.1", kind, account="anna", note="hm", now=NOW)
    node.round(NOW)
    assert channel.counts == [{"needs_person": 1}]


def test_one_of_two_persons_silences_nothing(site: Site) -> None:
    review = {"pass_verdicts": tuple(VerdictKind)[:3], "review_verdicts": ("UNDETERMINED",)}
    two = {"projects": {"two": review | {"persons_needed": 2}}}
    channels = [Heard("waits"), Heard("decided")]
    settings = Settings.model_validate({"notifications": {"digest_hours": 0}} | two)
    tellers = [teller(site, channel, settings=settings) for channel in channels]
    uid = site.examine(VerdictKind.UNDETERMINED)
    for account, node in zip(("anna", "bob"), tellers, strict=True):
        with site.database.begin() as c:
            kind = DecisionKind.DEFACED
            decisions.record(c, f"{uid}.1", kind, account=account, note="seen", now=NOW)
        node.round(NOW)
    assert [channel.counts for channel in channels] == [[{"needs_person": 1}], []]


def test_a_failed_message_is_sent_again_later_and_later(site: Site) -> None:
    channel = Heard()
    node = teller(site, channel)
    channel.away = True
    site.examine(None)
    tried = []
    for minute in range(16):
        node.round(NOW + timedelta(minutes=minute))
        tried.append(channel.attempts)
    assert tried == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]
    channel.away = False
    node.round(NOW + timedelta(hours=2))
    assert channel.counts == [{"failed": 1}]


def test_a_channel_that_is_away_holds_up_no_other(site: Site) -> None:
    away, here = Heard("email"), Heard("webhook")
    node = teller(site, away, here)
    away.away = True
    site.examine(None)
    node.round(NOW)
    node.round(NOW)
    assert here.counts == [{"failed": 1}]


def test_a_channel_whose_secret_is_gone_holds_up_no_other(site: Site, tmp_path: Path) -> None:
    here = Heard("email")
    hook = Webhook(WebhookSettings(url_file=tmp_path / "gone"))
    node = Teller(AT_ONCE, site.database, [hook, here])
    node.round(NOW)
    site.examine(None)
    node.round(NOW)
    assert here.counts == [{"failed": 1}]


@pytest.mark.parametrize("with_uids", [False, True])
def test_a_message_names_studies_only_where_the_site_wants_it(site: Site, with_uids: bool) -> None:
    channel = Heard()
    wanted = {"digest_hours": 0, "study_uids": with_uids, "link": "https://desk.example.org/queue"}
    node = teller(site, channel, settings=Settings.model_validate({"notifications": wanted}))
    uid = site.examine(None)
    node.round(NOW)
    (message,) = channel.messages
    everything = f"{message.title}{message.text}{message.values}"
    assert (uid in everything) is with_uids
    assert "1 examination failed" in message.title
    assert wanted["link"] in message.text
    assert "Doe" not in everything


def test_more_than_is_noted_at_a_time_is_told_in_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "MOST_AT_A_TIME", 2)
    channel = Heard()
    node = teller(site, channel)
    for _ in range(5):
        site.examine(None)
    for _ in range(4):
        node.round(NOW)
    assert sum(counts["failed"] for counts in channel.counts) == 5


def test_new_things_are_found_without_looking_through_the_old_ones(site: Site) -> None:
    if not site.database.is_sqlite:
        pytest.skip("plans of SQLite")
    for _ in range(3):
        site.examine(VerdictKind.UNDETERMINED)

    def ask(connection: Any) -> None:
        for topic in notices.Topic:
            connection.execute(
                notices._new(f"x/{topic}", topic, notices.Place(0, 1), ReviewFilter())
            )

    def look(connection: Any) -> None:
        notices.untold(connection, "x", ReviewFilter(), NOW)

    plans = query_plans(site.database, ask)
    assert not any("SCAN" in plan for plan in plans)
    (plan,) = query_plans(site.database, look)
    assert "ix_notices_told_at" in plan


def test_the_loop_runs_beside_everything_and_ends(site: Site, tmp_path: Path) -> None:
    with mail_server() as mailbox:
        settings = Settings.model_validate(
            {
                "notifications": {
                    "digest_hours": 0,
                    "poll_seconds": 0.05,
                    "email": {
                        "host": "127.0.0.1",
                        "port": mailbox.port,
                        "security": "none",
                        "sender": "node@example.org",
                        "recipients": ["anna@example.org"],
                    },
                }
            }
        )
        assert [channel.name for channel in channels_of(settings)] == ["email"]
        stop = threading.Event()
        start_telling(settings, site.database, stop)
        _until(lambda: _began(site))
        site.examine(None)
        _until(lambda: bool(mailbox.mails))
        stop.set()
        _until(lambda: not any(one.name == "notices" for one in threading.enumerate()))
    assert "1 examination failed" in mailbox.mails[0]


def _began(site: Site) -> bool:
    with site.database.read() as c:
        return bool(c.scalar(sa.text("SELECT count(*) FROM notices")))


def _until(is_so: Any) -> None:
    waited = threading.Event()
    for _ in range(200):
        if is_so():
            return
        waited.wait(0.05)
    pytest.fail("nothing came of it in ten seconds")
