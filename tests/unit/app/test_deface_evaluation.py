"""The table, summary and picture of how well faces are removed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from PIL import Image

from dicomnode.app.deface_evaluation import cases_of, write_evaluation


def line(name: str, dice: float, objections: list[str], **changes: Any) -> dict[str, Any]:
    """As deface.jsonl has it."""
    return {
        "series_instance_uid": name,
        "volume": "",
        "state": "held" if objections else "defaced",
        "exposed_face_before_ml": 120.0,
        "exposed_face_after_ml": 0.5,
        "face_probability_after": None,
        "series_seconds": 12.0,
        "proof": {
            "verdict": {"kind": "DEFACED"},
            "removed_ml": 500.0,
            "dice": dice,
            "face_probability_before": None,
            "brain_voxels": 1000,
            "brain_voxels_changed": 0,
            "other_voxels_changed": 0,
            "objections": objections,
        },
        "figures": {
            "surface_mean_mm": 20.0,
            "surface_p95_mm": 30.0,
            "surface_max_mm": 40.0,
            "kept_foreground_dice": 0.999,
        },
    } | changes


def test_each_volume_is_a_row_and_the_summary_has_the_worst(tmp_path: Path) -> None:
    lines = [line("1.2", 0.95, []), line("1.3", 0.7, ["too little"]), {"error": "no face"}]
    found = write_evaluation(cases_of(lines), 1, tmp_path)
    assert (found["volumes"], found["proven"], found["held"], found["failed"]) == (2, 1, 1, 1)
    assert found["dice"] == {"median": 0.825, "least": 0.7}
    assert found["face_probability_after"] is None
    with (tmp_path / "deface.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["objections"]) for row in rows] == [
        ("1.2", ""),
        ("1.3", "too little"),
    ]
    with Image.open(tmp_path / "deface.png") as picture:
        assert picture.size[0] > 800


def test_names_of_files_never_become_formulas(tmp_path: Path) -> None:
    write_evaluation(cases_of([line("", 0.9, [], path="=cmd()")]), 0, tmp_path)
    assert "'=cmd()" in (tmp_path / "deface.csv").read_text()


def test_without_a_case_there_is_a_table_and_a_picture_that_say_so(tmp_path: Path) -> None:
    found = write_evaluation([], 3, tmp_path)
    assert (found["volumes"], found["failed"], found["dice"]) == (0, 3, None)
    assert (tmp_path / "deface.png").stat().st_size > 0
