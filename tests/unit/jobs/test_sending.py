"""An attempt that the machine or the clock got in the way of."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa

from dicomnode.config import Settings
from dicomnode.delivery.store import Sent
from dicomnode.domain import DeliveryState
from dicomnode.jobs.attempts import Attempt, first_attempt
from dicomnode.jobs.lanes import JobQueue
from dicomnode.jobs.sending import Sending
from dicomnode.jobs.stages import Stages
from dicomnode.tracking import (
    commitments,
    deliveries,
    examinations,
    forgetting,
    instances,
    series,
)
from dicomnode.tracking.commitments import Asked
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import STUDY, at, examined, instance


class NoQueue:
    """Takes jobs that nobody does."""

    def enqueue_delivery(self, _connection: sa.Connection, attempt: Attempt) -> str:
        return attempt.job_id


@dataclass
class Site:
    """A delivery whose SEG is at `seg`, and whose destination is never reached."""

    sending: Sending
    attempt: Attempt
    seg: Path

    def stored(self) -> None:
        """As after an attempt that the destination took."""
        settled = self.sending.settle(self.attempt, {"state": "stored", "sentence": ""})
        assert settled == "stored"

    def asked(self) -> list[Asked]:
        with self.sending.database.read() as c:
            return commitments.of_delivery(c, self.attempt.delivery_id)

    def outcome(self) -> tuple[str, str]:
        found = self.sending.send(self.attempt)
        return found["state"], found["sentence"]


@pytest.fixture
def site(make_settings: Callable[..., Settings]) -> Site:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    settings = make_settings(destinations=[pacs])
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    database.migrate()
    seg = settings.results_folder / "ab" / "seg.dcm"
    with database.begin() as c:
        instances.add(c, [instance(1)])
        revision = series.add_revision(c, 1, spool, at(1))
        assert revision is not None
        made = examined(revision)
        (volume,) = made.volumes
        assert volume.segmentation is not None
        there = replace(volume, segmentation=replace(volume.segmentation, path=seg))
        examination_id = examinations.record(c, revision.id, replace(made, volumes=(there,)))
        (delivery_id,) = deliveries.add(c, examination_id, "pacs")
    sending = Sending(settings, database, cast(JobQueue, NoQueue()), cast(Stages, None))
    return Site(sending, first_attempt(delivery_id), seg)


def test_results_that_are_away_are_waited_for(site: Site) -> None:
    """As a mount that went away leaves them: an empty folder, or none."""
    for _ in range(2):
        state, sentence = site.outcome()
        assert state == "again"
        assert "is its disk mounted?" in sentence
        site.sending.settings.results_folder.mkdir(exist_ok=True)


def test_a_seg_that_is_gone_among_others_is_left_to_a_person(site: Site) -> None:
    site.seg.parent.mkdir(parents=True)
    state, sentence = site.outcome()
    assert state == "refused"
    assert "is gone" in sentence


def test_the_proof_of_an_earlier_sending_says_nothing_of_a_later_whatever_the_clock_says(
    site: Site,
) -> None:
    database, key = site.sending.database, site.attempt.delivery_id
    site.stored()
    for of, when in (("lost", 4e9), ("kept", 0.0)):  # the clock is set back in between
        with database.begin() as c:
            asked = commitments.ask(c, key, "1.2.3", datetime.fromtimestamp(when, UTC))
            commitments.report(c, asked, [], ["1.2.3"] if of == "lost" else [])
        assert [each.transaction_uid for each in site.asked()] == [asked]
        with database.begin() as c:
            deliveries.mark_lost(c, key, "not kept", at(0))
        site.stored()
        assert site.asked() == []


def test_an_attempt_that_is_recorded_twice_keeps_what_was_asked_in_between(site: Site) -> None:
    site.stored()
    with site.sending.database.begin() as c:
        commitments.ask(c, site.attempt.delivery_id, "1.2.3", at(0))
    site.stored()
    assert len(site.asked()) == 1


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_a_seg_that_cannot_be_read_now_is_tried_again(
    site: Site, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *_: Any) -> Any:
        raise OSError(code, "injected", str(path))

    monkeypatch.setattr(Path, "open", fail)
    state, sentence = site.outcome()
    assert state == "again"
    assert "can't be read now" in sentence


def test_a_seg_that_goes_away_while_it_is_sent_is_tried_again_and_says_nothing_of_the_pacs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(*_: Any) -> Sent:
        raise FileNotFoundError(errno.ENOENT, "gone", str(site.seg))

    monkeypatch.setattr("dicomnode.jobs.sending._check_unchanged", lambda *_: None)
    sending = replace(site.sending, stages=Stages(cast(Any, None), vanish))
    found = sending.send(site.attempt)
    assert (found["state"], found["contact"]) == ("again", "")
    assert "can't be read now" in found["sentence"]


def test_a_study_that_is_forgotten_while_its_seg_is_sent_ends_it_quietly(site: Site) -> None:
    given = site.sending.send(site.attempt)
    with site.sending.database.begin() as c:
        forgetting.erase_rows(c, forgetting.known_study(c, STUDY), "anna", "asked", at(1))
    for state in ("again", "delivered", "refused"):
        site.sending.settle(site.attempt, given | {"state": state})
    assert site.outcome() == ("ended", "")


def test_what_was_cancelled_while_it_was_sent_is_not_refused(site: Site) -> None:
    with site.sending.database.begin() as c:
        assert deliveries.cancel(c, site.attempt.delivery_id)
    site.sending.settle(site.attempt, {"state": "refused", "sentence": "no"})
    with site.sending.database.read() as c:
        assert deliveries.load(c, site.attempt.delivery_id).state is DeliveryState.CANCELLED
