"""The quiet time of a sender: learned from its pauses, within bounds, forgotten slowly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.config import CompletenessSettings
from dicomnode.tracking import associations, instances, senders, series
from dicomnode.tracking.associations import ClosedAssociation
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.schema import senders as table
from dicomnode.tracking.senders import Piece, Span, longest_pause, next_quiet_seconds
from dicomnode.tracking.spool import Spool
from tests.unit.tracking.rows import SERIES, association, at, instance

SETTINGS = CompletenessSettings(
    quiet_seconds=30, shortest_quiet_seconds=5, longest_quiet_seconds=300
)


def piece(name: str, first: float, last: float, *, new: bool = True) -> Piece:
    return Piece(name, "SCANNER", at(first), at(last), new)


def span(name: str, opened: float, ended: float) -> Span:
    return Span(name, at(opened), at(ended))


# (pieces, spans of the study's associations, the longest pause)
PAUSES = {
    "one piece": ([piece("a", 0, 9)], [span("a", 0, 10)], 0.0),
    "two pieces": (
        [piece("a", 0, 9), piece("b", 52, 60)],
        [span("a", 0, 10), span("b", 51, 61)],
        42.0,
    ),
    "the other piece came while the first was being sent": (
        [piece("a", 0, 9), piece("b", 5, 6)],
        [span("a", 0, 10), span("b", 4, 7)],
        0.0,
    ),
    "another series of the study was sent meanwhile": (
        [piece("a", 0, 9), piece("c", 100, 110)],
        [span("a", 0, 10), span("b", 11, 98), span("c", 99, 111)],
        2.0,
    ),
    "a late piece within the bound": (
        [piece("a", 0, 9, new=False), piece("b", 210, 215)],
        [span("a", 0, 10), span("b", 209, 216)],
        200.0,
    ),
    "a slice an hour later": (
        [piece("a", 0, 9, new=False), piece("b", 3610, 3615)],
        [span("a", 0, 10), span("b", 3609, 3616)],
        None,
    ),
    "pauses that an older revision taught already": (
        [piece("a", 0, 9, new=False), piece("b", 52, 60, new=False)],
        [span("a", 0, 10), span("b", 51, 61)],
        None,
    ),
    "its associations are not known": ([piece("", 0, 9), piece("x", 20, 30)], [], 11.0),
}


@pytest.mark.parametrize(("pieces", "spans", "pause"), PAUSES.values(), ids=PAUSES)
def test_a_pause_is_quiet_in_the_study_before_a_new_piece(
    pieces: list[Piece], spans: list[Span], pause: float | None
) -> None:
    assert longest_pause(pieces, spans, 300) == pause


@given(known=st.floats(0, 1000), pauses=st.lists(st.floats(0, 300), min_size=1, max_size=30))
def test_it_covers_the_latest_pause_and_stays_within_the_bounds(
    known: float, pauses: list[float]
) -> None:
    for pause in pauses:
        before, known = known, next_quiet_seconds(known, pause, SETTINGS)
        assert 5 <= known <= 300
        assert known >= min(pause, 300)
        if pause == 0 and 5 <= before <= 300:
            assert before >= known >= 0.9 * before or known == 5


def test_it_rises_at_once_and_sinks_slowly() -> None:
    risen = next_quiet_seconds(30, 60, SETTINGS)
    assert risen == 90
    sunk = [risen]
    for _ in range(200):
        sunk.append(next_quiet_seconds(sunk[-1], 0, SETTINGS))
    assert sunk[10] > 50
    assert sunk == sorted(sunk, reverse=True)
    assert sunk[-1] == pytest.approx(5, abs=0.1)


def test_a_quiet_time_below_the_lower_bound_is_the_lower_bound() -> None:
    quick = CompletenessSettings(quiet_seconds=0.1)
    assert next_quiet_seconds(0.1, 0, quick) == pytest.approx(0.1)


def learned(database: Database) -> dict[str, float]:
    with database.read() as connection:
        rows = connection.execute(sa.select(table)).all()
    return {row.calling_ae_title: row.quiet_seconds for row in rows}


def send(database: Database, name: str, first: int, seconds: float) -> None:
    """Two instances over one association of ten seconds."""
    with database.begin() as connection:
        associations.open_(connection, [association(name, seconds)])
        sent = [instance(n, seconds + 1, association=name) for n in (first, first + 1)]
        instances.add(connection, sent)
        closed = ClosedAssociation(name, "released", at(seconds + 10))
        associations.close(connection, [closed])


def look(database: Database, spool: Spool, seconds: float) -> list[int]:
    """The numbers of the revisions made now."""
    made = []
    with database.begin() as connection:
        for facts in unrevised(connection, at(seconds)):
            found = series.complete(connection, facts.series_id, spool, SETTINGS, at(seconds))
            made += [found.number] if found else []
    return made


def test_a_series_that_was_found_complete_too_early_teaches_its_sender(
    database: Database, spool: Spool
) -> None:
    send(database, "a", 1, 0)
    assert look(database, spool, 39) == []
    assert look(database, spool, 40) == [1]
    assert learned(database) == {"SCANNER": pytest.approx(28.75)}
    send(database, "b", 3, 69)  # sixty seconds after the end of the first
    assert look(database, spool, 110) == [2]
    assert learned(database) == {"SCANNER": pytest.approx(90)}
    with database.begin() as connection:
        late = [instance(n, 0, series=f"{SERIES}.2", study="1.2.9") for n in (1,)]
        instances.add(connection, late)
        (facts,) = unrevised(connection, at(200))
    assert facts.learned_quiet_seconds == pytest.approx(90)


def test_a_slice_that_comes_an_hour_later_teaches_nothing(database: Database, spool: Spool) -> None:
    send(database, "a", 1, 0)
    assert look(database, spool, 40) == [1]
    before = learned(database)
    send(database, "b", 3, 3600)
    assert look(database, spool, 3700) == [2]
    assert learned(database) == before


def test_instances_of_an_unknown_sender_teach_nobody(database: Database, spool: Spool) -> None:
    with database.begin() as connection:
        instances.add(connection, [replace(instance(1), calling_ae_title="")])
        senders.learn(connection, 1, SETTINGS, at(40))
    assert learned(database) == {}


def quiet_before(one: Piece, earlier: list[Piece], spans: list[Span]) -> float:
    """The rule in plain words: every piece against every span."""
    others = [each for each in spans if each.association_id != one.association_id]
    if any(each.opened_at <= one.first_at < each.ended_at for each in others):
        return 0.0
    ends = [each.ended_at for each in others if each.ended_at <= one.first_at]
    since = max([*ends, *(each.last_at for each in earlier)])
    return max(0.0, (one.first_at - since).total_seconds())


moments = st.integers(0, 40)
names = st.sampled_from("abcdef")
some_pieces = st.lists(
    st.builds(
        lambda name, first, lasting, new: piece(name, first, first + lasting, new=new),
        names,
        moments,
        st.integers(0, 9),
        st.booleans(),
    ),
    max_size=8,
)
some_spans = st.lists(st.builds(span, names, moments, moments), max_size=8)


@given(some_pieces, some_spans)
def test_looking_things_up_in_order_finds_the_same_pauses(
    pieces: list[Piece], spans: list[Span]
) -> None:
    pieces.sort(key=lambda each: each.first_at)
    pauses = [
        0.0 if number == 0 else quiet_before(each, pieces[:number], spans)
        for number, each in enumerate(pieces)
        if each.is_new
    ]
    expected = max((pause for pause in pauses if pause <= 30), default=None)
    assert longest_pause(pieces, spans, 30) == expected


def test_a_sender_with_an_association_for_each_image_is_learned_from() -> None:
    """Twenty thousand of them: compared each with each, this took minutes."""
    count = 20_000
    pieces = [piece(str(number), number, number) for number in range(count)]
    spans = [span(str(number), number - 0.2, number + 0.2) for number in range(count)]
    assert longest_pause(pieces, spans, 300) == pytest.approx(0.8)
