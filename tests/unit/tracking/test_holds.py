"""What holds a series besides its own rows: objects in quarantine, rows that may be missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from dicomnode.domain import StoredInstance
from dicomnode.errors import DatabaseError
from dicomnode.tracking import associations, examinations, findings, instances, quarantine, series
from dicomnode.tracking.arrivals import Arrivals
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.database import Database
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.schema import association_series, segmentations
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import (
    SERIES,
    STUDY,
    association,
    at,
    examined,
    instance,
    segmentation,
)

OTHER_STUDY, OTHER_SERIES = "1.2.826.0.1.2", "1.2.826.0.1.2.1"


def found(database: Database, study: str = STUDY) -> dict[str, findings.SeriesFinding]:
    with database.read() as connection:
        of_study = findings.verdicts_of_study(connection, study)
    return {finding.series_instance_uid: finding for finding in of_study}


def held(database: Database, study: str = STUDY) -> dict[str, int]:
    return {uid: finding.quarantined for uid, finding in found(database, study).items()}


def refused(
    reason: str, sop: str = "", *, series: str = "", study: str = "", name: str = "a"
) -> QuarantinedObject:
    return QuarantinedObject(
        at=at(1),
        name=f"{reason}/{name}.dcm",
        reason=reason,
        sentence="a sentence",
        size_bytes=1,
        sop_instance_uid=sop,
        series_instance_uid=series,
        study_instance_uid=study,
    )


def add(database: Database, *objects: QuarantinedObject | StoredInstance) -> None:
    with database.begin() as connection:
        for one in objects:
            if isinstance(one, StoredInstance):
                instances.add(connection, [one])
            else:
                quarantine.add(connection, [one])


@pytest.mark.parametrize("reason", ["mismatch", "wrong_context", "bad_uid", "unreadable"])
def test_a_refused_object_holds_its_series_until_its_good_copy_is_there(
    database: Database, reason: str
) -> None:
    add(database, instance(1), refused(reason, f"{SERIES}.2", series=SERIES, study=STUDY))
    assert held(database) == {SERIES: 1}
    add(database, instance(3))
    assert held(database) == {SERIES: 1}
    add(database, instance(2))
    assert held(database) == {SERIES: 0}


def test_a_good_copy_in_another_series_is_none(database: Database) -> None:
    add(database, instance(1), refused("mismatch", f"{SERIES}.1", series="1.9", study=STUDY))
    assert held(database) == {SERIES: 0, "1.9": 1}


def test_a_series_of_which_nothing_was_accepted_is_known_and_held(database: Database) -> None:
    add(database, refused("unreadable", f"{SERIES}.1", series=SERIES, study=STUDY))
    (finding,) = found(database).values()
    assert (finding.instance_count, finding.quarantined, finding.state) == (0, 1, "receiving")


def test_an_object_that_names_only_its_study_holds_all_of_it(database: Database) -> None:
    add(database, instance(1), instance(1, series="1.9"), refused("bad_uid", "1.7", study=STUDY))
    assert held(database) == {SERIES: 1, "1.9": 1}


def test_an_object_that_names_only_a_series_holds_that(database: Database) -> None:
    add(database, instance(1), instance(1, series="1.9"), refused("bad_uid", series="1.9"))
    assert held(database) == {SERIES: 0, "1.9": 1}


def test_an_object_that_says_nothing_holds_nothing(database: Database) -> None:
    add(database, instance(1), refused("unreadable"), refused("unreadable", "1.7", name="b"))
    assert held(database) == {SERIES: 0}


def test_a_conflict_holds_the_stored_series_and_the_one_it_names(database: Database) -> None:
    claims = {"series": OTHER_SERIES, "study": OTHER_STUDY}
    add(database, instance(1), refused("conflict", f"{SERIES}.1", **claims))
    assert held(database) == {SERIES: 1}
    assert held(database, OTHER_STUDY) == {OTHER_SERIES: 1}


def test_a_conflict_counts_once_and_stays(database: Database) -> None:
    add(database, instance(1), refused("conflict", f"{SERIES}.1", series=SERIES, study=STUDY))
    assert held(database) == {SERIES: 1}
    add(database, refused("conflict", f"{SERIES}.1", series="1.9", study=STUDY, name="b"))
    assert held(database) == {SERIES: 2, "1.9": 1}


def test_a_row_without_uids_gets_them_when_they_are_known(database: Database) -> None:
    true = refused("conflict", f"{SERIES}.1", series=SERIES, study=STUDY)
    add(database, instance(1), refused("conflict"), true)
    assert held(database) == {SERIES: 1}
    with database.read() as connection:
        (row,) = quarantine.newest(connection)
    assert row.study_instance_uid == STUDY


def test_a_pair_is_on_record_before_its_first_success(database: Database) -> None:
    arrivals = Arrivals(database)
    arrivals.opened(association("a"))
    arrivals.record("a", instance(1).header)
    assert found(database)[SERIES].is_being_sent
    with database.begin() as connection:
        instances.add(connection, [instance(1, association="a")])
        associations.close(connection, [ClosedAssociation("a", "released", at(2))])
    assert not found(database)[SERIES].is_being_sent


def test_only_the_first_object_of_a_pair_needs_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> object:
        raise DatabaseError("away")

    arrivals = Arrivals(database)
    arrivals.opened(association("a"))
    arrivals.record("a", instance(1).header)
    monkeypatch.setattr(database, "begin", away)
    arrivals.record("a", instance(2).header)
    with pytest.raises(DatabaseError):
        arrivals.record("a", instance(1, series="1.9").header)
    arrivals.ended("a")
    arrivals.record("a", instance(1, series="1.9").header)


def test_who_sends_is_noted_although_the_rebuild_was_first(database: Database) -> None:
    with database.begin() as connection:
        associations.open_(connection, [association("a")])
    add(database, instance(1), instance(1, association="a"))
    with database.read() as connection:
        assert connection.scalars(sa.select(association_series.c.association_id)).all() == ["a"]
    assert found(database)[SERIES].is_being_sent


SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def seg_that_came(**header: str) -> StoredInstance:
    """What a PACS sends back of the SEG of `examine`; `header` is what is otherwise in it."""
    ours, seg = segmentation(), instance(1, series="2.25.2", pixels=segmentation().pixel_sha256)
    uids = {"sop_class_uid": SEG, "sop_instance_uid": ours.sop_instance_uid}
    return replace(seg, header=replace(seg.header, **(uids | header)))


def examine(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, at(30))
        assert revision is not None
        examinations.record(connection, revision.id, examined(revision))


def own(database: Database) -> dict[str, bool]:
    return {uid: finding.is_own_segmentation for uid, finding in found(database).items()}


def test_the_seg_that_comes_back_is_known_as_our_own(database: Database, spool: Spool) -> None:
    examine(database, spool)
    add(database, seg_that_came())
    assert own(database) == {SERIES: False, "2.25.2": True}
    add(database, replace(seg_that_came(sop_instance_uid="1.7"), name="another"))
    assert own(database) == {SERIES: False, "2.25.2": False}


@pytest.mark.parametrize("pixels", ["f" * 64, ""])
def test_other_pixels_under_the_uid_of_our_seg_are_not_our_own(
    database: Database, spool: Spool, pixels: str
) -> None:
    examine(database, spool)
    add(database, replace(seg_that_came(), pixel_sha256=pixels))
    assert own(database) == {SERIES: False, "2.25.2": False}


@pytest.mark.parametrize("pixels", [segmentation().pixel_sha256, ""])
def test_a_seg_whose_pixels_were_not_kept_is_not_known_when_it_comes_back(
    database: Database, spool: Spool, pixels: str
) -> None:
    examine(database, spool)
    with database.begin() as connection:
        connection.execute(sa.update(segmentations).values(pixel_sha256=""))
    add(database, replace(seg_that_came(), pixel_sha256=pixels))
    assert own(database) == {SERIES: False, "2.25.2": False}
