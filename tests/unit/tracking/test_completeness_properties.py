"""Whatever order things come in: nothing fires early, nothing is forgotten, nothing fires twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomnode.tracking import associations, instances, series
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import association, at, instance

QUIET = 30.0
# (seconds since the step before, number of the instance that arrives, association)
STEPS = st.lists(
    st.tuples(st.floats(0.0, 60.0), st.integers(1, 6), st.sampled_from("ab")),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_every_instance_ends_in_exactly_the_revisions_that_it_belongs_to(
    steps: list[tuple[float, int, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/tracking.sqlite")
        database.migrate()
        spool = Spool(Path(folder))
        seen: set[int] = set()
        revised: list[set[int]] = []
        now, last_new = 0.0, 0.0
        with database.begin() as c:
            associations.open_(c, [association(name) for name in "ab"])
            for pause, number, name in steps:
                now += pause
                fired = [
                    series.add_revision(c, one, spool, at(now))
                    for one in series.complete_series(c, at(now), QUIET)
                ]
                if fired:
                    # The quiet time was over, and there was something new.
                    assert now - last_new >= QUIET
                    assert not revised or seen != revised[-1]
                    assert [len(one.paths) for one in fired if one] == [len(seen)]
                    revised.append(set(seen))
                # Heartbeats are missing after 20 s, so only quiet time counts in long pauses.
                if instances.add(c, [instance(number, now, association=name)]):
                    seen.add(number)
                    last_new = now
            for name in "ab":
                associations.close(c, [ClosedAssociation(name, "released", at(now))])
            for one in series.complete_series(c, at(now + QUIET), QUIET):
                last = series.add_revision(c, one, spool, at(now + QUIET))
                assert last is not None
                assert len(last.paths) == len(seen)
                revised.append(set(seen))
            assert revised[-1] == seen
            assert series.complete_series(c, at(now + 10 * QUIET), QUIET) == []
        database.close()
