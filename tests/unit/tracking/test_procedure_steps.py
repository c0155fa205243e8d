"""The life of a procedure step, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from dicomnode.tracking import instances, procedure_steps
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.procedure_steps import Change, StepStatus
from dicomnode.tracking.schema import expected_counts
from tests.unit.tracking.rows import SERIES, STUDY, at, instance

STEP = "1.2.9"


def test_only_a_completed_step_is_believed(database: Database) -> None:
    with database.begin() as c:
        instances.add(c, [instance(1)])
        assert procedure_steps.begin(c, STEP, [STUDY], {SERIES: 3})
        assert not procedure_steps.begin(c, STEP, [STUDY], {})
        assert procedure_steps.change(c, STEP, None, {SERIES: 5}) is Change.MADE
        assert unrevised(c, at(1))[0].expected == ()
        assert procedure_steps.change(c, STEP, StepStatus.COMPLETED, None) is Change.MADE
        assert unrevised(c, at(1))[0].expected == (("MPPS", 5),)


@pytest.mark.parametrize("end", [StepStatus.COMPLETED, StepStatus.DISCONTINUED])
def test_an_end_is_an_end(database: Database, end: StepStatus) -> None:
    with database.begin() as c:
        assert procedure_steps.change(c, STEP, end, {}) is Change.NO_SUCH_STEP
        procedure_steps.begin(c, STEP, [STUDY], {})
        procedure_steps.change(c, STEP, end, {})
        again = procedure_steps.change(c, STEP, StepStatus.COMPLETED, {SERIES: 7})
        assert again is Change.HAS_ENDED
        assert c.execute(sa.select(expected_counts)).all() == []


def test_a_step_of_two_studies_counts_where_its_series_lie(database: Database) -> None:
    """It doesn't say in which: the other study must not wait for them for ever."""
    with database.begin() as c:
        instances.add(c, [instance(1)])
        procedure_steps.begin(c, STEP, [STUDY, "1.2.77"], {})
        procedure_steps.change(c, STEP, StepStatus.COMPLETED, {SERIES: 7, f"{SERIES}.2": 3})
        rows = c.execute(sa.select(expected_counts)).all()
    assert [(row.study_instance_uid, row.instance_count) for row in rows] == [(STUDY, 7)]


def test_steps_of_one_series_add_up(database: Database) -> None:
    with database.begin() as c:
        instances.add(c, [instance(1)])
        for step, count in ((STEP, 60), (f"{STEP}.1", 40)):
            procedure_steps.begin(c, step, [STUDY], {})
            procedure_steps.change(c, step, StepStatus.COMPLETED, {SERIES: count})
        assert unrevised(c, at(1))[0].expected == (("MPPS", 100),)
