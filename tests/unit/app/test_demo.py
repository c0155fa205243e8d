"""Which folders a demo may overwrite: none that holds anything of the user's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dicomnode.app.demo import MARKER_NAME, Demo
from dicomnode.app.drawn_series import STUDIES, DrawnSeries, write_series
from dicomnode.config_policy import STRICT_SERIES
from dicomnode.dicom.header import read_acquisition
from dicomnode.dicom.series import sort_series
from dicomnode.domain import VerdictKind
from dicomnode.errors import DicomnodeError
from dicomnode.gate.series_rules import deciding_rule
from tests.factories import make_series
from tests.unit.gate.findings import of, volume
from tests.unit.tracking.rows import EVIDENCE


@pytest.mark.parametrize(
    ("out", "send"), [("prev", "prev/sent"), ("prev/sent/out", "prev/sent"), ("prev", "prev")]
)
def test_a_demo_never_takes_the_folder_of_the_files_that_it_sends(
    tmp_path: Path, out: str, send: str
) -> None:
    files = make_series(tmp_path / "prev" / "sent", slices=2)
    (tmp_path / "prev" / MARKER_NAME).touch()
    with pytest.raises(DicomnodeError, match="overlap"):
        Demo(tmp_path / out, tmp_path / send)
    assert all(path.is_file() for path in files)


def test_a_link_does_not_hide_an_overlap(tmp_path: Path) -> None:
    make_series(tmp_path / "sent", slices=2)
    (tmp_path / "link").symlink_to(tmp_path / "sent")
    with pytest.raises(DicomnodeError, match="overlap"):
        Demo(tmp_path / "link" / "out", tmp_path / "sent")


@pytest.mark.parametrize("name", ["node.toml", "scan.dcm", "node.log"])
def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("the user's")
    with pytest.raises(DicomnodeError, match="not an earlier demo's"):
        Demo(tmp_path, None)
    assert (tmp_path / name).read_text() == "the user's"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DicomnodeError, match="not an earlier demo's"):
        Demo(tmp_path / "file", None)


def test_nothing_is_deleted_before_the_input_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER_NAME).touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DicomnodeError, match="no DICOM series"):
        Demo(tmp_path / "out", tmp_path / "empty").run(lambda text: None)
    assert (tmp_path / "out" / MARKER_NAME).is_file()


def test_an_empty_folder_and_an_earlier_demo_may_be_used(tmp_path: Path) -> None:
    Demo(tmp_path, None)
    (tmp_path / MARKER_NAME).touch()
    (tmp_path / "node.log").touch()
    Demo(tmp_path, None)


@pytest.mark.parametrize("series", STUDIES[2:])
def test_the_default_policy_asks_no_person_about_a_drawn_head(
    tmp_path: Path, series: DrawnSeries
) -> None:
    (stack,) = sort_series(write_series(series, tmp_path)).stacks
    acquired = read_acquisition(stack.datasets, stack.geometry.slice_spacing_mm)
    seen = replace(volume(VerdictKind.DEFACED), evidence=replace(EVIDENCE, acquisition=acquired))
    assert deciding_rule(STRICT_SERIES, of(seen, modality=series.modality), seen) is None
