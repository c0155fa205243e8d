"""Whatever order things come in: nothing fires early, nothing is forgotten, nothing fires twice."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomnode.config import CompletenessSettings
from dicomnode.tracking import associations, instances, series
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.completeness import decide
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.instances import RepeatedInstance
from dicomnode.tracking.schema import instances as instance_rows
from dicomnode.tracking.schema import revisions
from dicomnode.tracking.schema import series as rows
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import SERIES, association, at, instance

SETTINGS = CompletenessSettings(quiet_seconds=30.0)
ALL_SERIES = (f"{SERIES}.1", f"{SERIES}.2")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from("rs")),
        st.tuples(st.just("send"), st.integers(0, 9), st.integers(0, 1), st.integers(1, 5)),
        st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(["released", "aborted"])),
        st.tuples(st.just("kill"), st.sampled_from("rs")),
        st.tuples(st.just("restart")),
        st.tuples(st.just("wait"), st.floats(0.1, 90.0)),
    ),
    min_size=1,
    max_size=30,
)


@cache
def _all_tables() -> bytes:
    """A database that all migrations have made, for each example."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tracking.sqlite"
        made = Database(f"sqlite:///{file}")
        made.migrate()
        made.close()
        return file.read_bytes()


class Site:
    """A node and its senders, in time that only the test moves."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/tracking.sqlite"
        (folder / "tracking.sqlite").write_bytes(_all_tables())
        self.database = Database(self.url)
        self.spool = Spool(folder)
        self.now = 0.0
        self.open: dict[str, str] = {}  # association -> its receiver
        self.sent: dict[str, set[int]] = {one: set() for one in ALL_SERIES}
        self.opened = 0

    def step(self, kind: str, *values: object) -> None:
        getattr(self, f"_{kind}")(*values)

    def _open(self, receiver: str) -> None:
        name = f"{receiver}{self.opened}"
        self.opened += 1
        self.open[name] = receiver
        with self.database.begin() as c:
            associations.open_(c, [association(name, self.now, receiver)])

    def _send(self, which: int, number_of_series: int, number: int) -> None:
        if not self.open:
            return
        name = sorted(self.open)[which % len(self.open)]
        one = instance(number, self.now, association=name, series=ALL_SERIES[number_of_series])
        again = RepeatedInstance(one.header, name, at(self.now))
        with self.database.begin() as c:
            if not instances.add(c, [one]):
                instances.repeat(c, [again])
        self.sent[ALL_SERIES[number_of_series]].add(number)

    def _end(self, which: int, outcome: str) -> None:
        if not self.open:
            return
        name = sorted(self.open)[which % len(self.open)]
        del self.open[name]
        with self.database.begin() as c:
            associations.close(c, [ClosedAssociation(name, outcome, at(self.now))])

    def _kill(self, receiver: str) -> None:
        """A receiver that was killed says nothing any more."""
        self.open = {name: its for name, its in self.open.items() if its != receiver}

    def _restart(self) -> None:
        """Worker and receiver forget everything; the receiver closes what was lost."""
        self.database.close()
        self.database = Database(self.url)
        with self.database.begin() as c:
            associations.close_lost(c, at(self.now), set(self.open.values()))

    def _wait(self, seconds: float) -> None:
        """The worker looks every few seconds, and living receivers send their heartbeats."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5.0)
            with self.database.begin() as c:
                for receiver in set(self.open.values()):
                    associations.heartbeat(c, receiver, at(self.now))
            self.look()

    def look(self) -> None:
        with self.database.begin() as c:
            for facts in unrevised(c, at(self.now)):
                completion = decide(facts, SETTINGS, at(self.now))
                revision = series.complete(c, facts.series_id, self.spool, SETTINGS, at(self.now))
                assert (completion is None) == (revision is None)
                if revision is not None:
                    assert not self.open_to_the_study(c)
                    assert at(self.now) - facts.quiet_since >= timedelta(seconds=5)

    def open_to_the_study(self, c: sa.Connection) -> set[str]:
        senders = set(c.scalars(sa.select(instance_rows.c.association_id)))
        return senders & set(self.open)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_when_all_is_quiet_each_series_has_one_current_revision_of_all_its_instances(
    steps: list[tuple[str, object]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        for kind, *values in steps:
            site.step(kind, *values)
        for _ in range(len(site.open)):
            site.step("end", 0, "released")
        site.step("wait", 700.0)
        with site.database.read() as c:
            assert unrevised(c, at(site.now)) == ()
            found = {
                one: c.execute(_revisions(one).order_by(revisions.c.number)).all()
                for one in ALL_SERIES
            }
        for one, sent in site.sent.items():
            assert [row.is_current for row in found[one]] == [False] * (len(found[one]) - 1) + [
                True
            ] * bool(sent)
            if sent:
                assert found[one][-1].instance_count == len(sent)
                counts = [row.instance_count for row in found[one]]
                assert counts == sorted(set(counts))
                assert all(row.completed_by and row.completion for row in found[one])
        site.database.close()


def _revisions(series_instance_uid: str) -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(revisions)
        .join(rows, rows.c.id == revisions.c.series_id)
        .where(rows.c.series_instance_uid == series_instance_uid)
    )
