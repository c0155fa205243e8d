"""The counters are those of the database, and tell of nobody in it."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from dicomnode.domain import DeliveryState
from dicomnode.tracking import (
    associations,
    deliveries,
    examinations,
    findings,
    instances,
    quarantine,
    series,
)
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.database import Database
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.spool import Spool
from dicomnode.tracking.totals import totals
from dicomnode.web.metrics import exposition, family_of
from tests.unit.tracking.rows import SERIES, STUDY, association, at, examined, instance, refused

NAMES = [SERIES, *(f"{SERIES}.{number}" for number in range(5))]


def fill(database: Database, spool: Spool) -> None:
    """A series in each of the states, a delivery, a conflict, and associations."""
    conflict = QuarantinedObject(at(2), "conflict/ab.dcm", "conflict", "why", 10, "1.2.3")
    with database.begin() as connection:
        instances.add(connection, [instance(1, series=name) for name in NAMES])
        found = [series.add_revision(connection, key, spool, at(30)) for key in range(1, 6)]
        examined_one, refused_one, failed, started, _waiting = (r for r in found if r is not None)
        examination_id = examinations.record(connection, examined_one.id, examined(examined_one))
        deliveries.add(connection, examination_id, "pacs")
        examinations.record(connection, refused_one.id, refused(refused_one))
        examinations.record_failure(connection, failed.id, "it failed")
        examinations.start(connection, started.id)
        quarantine.add(connection, [conflict])
        associations.open_(connection, [association("one"), association("two")])
        associations.close(connection, [ClosedAssociation("one", "released", at(1))])


def test_they_say_what_the_findings_say(database: Database, spool: Spool) -> None:
    fill(database, spool)
    with database.read() as connection:
        told = {total.name: dict(total.counts) for total in totals(connection)}
        every = findings.findings(connection, sa.true())
    assert told["series"] == Counter(finding.state.value for finding in every)
    assert len(told["series"]) == 6
    assert told["verdicts"] == {"DEFACED": 1}
    assert told["refusals_total"] == {"LOCALIZER": 1}
    others = dict.fromkeys(("stored", "delivered", "refused", "cancelled"), 0)
    assert told["deliveries"] == {"pending": 1} | others, "an alert needs the number before"
    assert told["objects_quarantined_total"] == {"conflict": 1}
    assert told["associations_open"] == {"": 1}
    assert told["instances_stored_total"] == {"": len(NAMES)}


def test_an_empty_database_has_zeros_and_only_known_labels(database: Database) -> None:
    with database.read() as connection:
        told = exposition(map(family_of, totals(connection)))
    assert "dicomnode_instances_stored_total 0\n" in told
    assert told.count("{") == told.count("dicomnode_deliveries{") == len(DeliveryState)


def test_the_text_is_that_of_prometheus_and_names_nobody(database: Database, spool: Spool) -> None:
    fill(database, spool)
    with database.read() as connection:
        told = exposition(map(family_of, totals(connection)))
    assert (
        "# HELP dicomnode_refusals_total Images of which no volume was made, by refusal code.\n"
        "# TYPE dicomnode_refusals_total counter\n"
        'dicomnode_refusals_total{code="LOCALIZER"} 1\n'
    ) in told
    assert "# TYPE dicomnode_series gauge\n" in told
    for secret in (STUDY, "SCANNER", "192.0.2.7", "1.2.3"):
        assert secret not in told
