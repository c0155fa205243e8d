"""What `make bench` writes into the documentation, and what its own sender sends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage

from bench.growth_plot import HEIGHT, plot
from bench.raw_association import VERIFICATION, RawAssociation, echo
from bench.receive import replay
from bench.report import BEGIN, END, with_section
from bench.results import Goal, Report, read, tell
from tests.factories import make_series
from tests.storage_peer import storage_peer


def test_the_section_is_replaced_and_the_rest_of_the_document_stays() -> None:
    first = with_section("# Title\n\nText.\n", "## Old\n")
    assert first == f"# Title\n\nText.\n\n{BEGIN}\n## Old\n{END}\n"
    second = with_section(f"{first}\n## After\n", "## New\n")
    assert second == f"# Title\n\nText.\n\n{BEGIN}\n## New\n{END}\n\n## After\n"
    assert with_section(second, "## New\n") == second


def test_a_document_that_lost_the_end_of_the_section_is_left_alone() -> None:
    with pytest.raises(SystemExit, match="is missing"):
        with_section(f"# Title\n{BEGIN}\n## Old\n## What a person wrote\n", "## New\n")


def test_a_report_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    goal = Goal("seconds, at most", "1x", "2x", met=False)
    report = Report("Title", ["a", "b"], [["1", "2"]], goals=[goal], load_averages=[0.5, 1.0])
    tell(report, tmp_path / "report.json")
    told = read(tmp_path / "report.json").markdown()
    assert told == report.markdown()
    assert "| 1 | 2 |" in told
    assert "**Missed**: seconds, at most 1x: 2x." in told


def test_a_replayed_series_arrives_under_new_uids_each_time(tmp_path: Path) -> None:
    paths = make_series(tmp_path, slices=4, rows=128, columns=128)
    with storage_peer(ae_title="DICOMNODE", sop_classes=[MRImageStorage, VERIFICATION]) as peer:
        echo(peer.port)
        for _ in range(2):
            replay(peer.port, paths, MRImageStorage, 6)
    assert len(peer.received) == 12
    assert set(peer.received.values()) == {1}


def test_a_sender_tells_of_an_image_that_was_not_accepted(tmp_path: Path) -> None:
    paths = make_series(tmp_path, slices=1)
    with (
        storage_peer(sop_classes=[MRImageStorage], statuses=[0x0000, 0xA700]) as peer,
        pytest.raises(ConnectionError, match="0xa700"),
    ):
        replay(peer.port, paths, MRImageStorage, 3)


def test_a_presentation_context_that_is_refused_is_told() -> None:
    with (
        storage_peer(sop_classes=[MRImageStorage], services=[]) as peer,
        pytest.raises(ConnectionError, match="refused"),
    ):
        RawAssociation(peer.port, VERIFICATION)


def test_a_plot_of_growth_begins_at_one_and_holds_every_line() -> None:
    drawn = plot([10, 100, 1000], {"a": [1.0, 1.0, 1.0], "b": [1.0, 3.0, 9.0]})
    lines = re.findall(r'points="(.*?)"', drawn)
    places = [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in lines]
    assert len(places) == 3  # what is logarithmic, too
    assert len({line[0] for line in places}) == 1
    assert places[1][0][1] == places[1][2][1]  # no growth: level
    assert all(0 <= y <= HEIGHT for line in places for _, y in line)
