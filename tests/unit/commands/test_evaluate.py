"""`evaluate` takes networks where no other command is named, as it always did."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicomnode.cli import app
from dicomnode.errors import DicomnodeError


@pytest.mark.parametrize(
    "arguments",
    [
        ["MODELS", "CASES", "--out", "OUT"],
        ["--out", "OUT", "MODELS", "CASES"],
        ["networks", "MODELS", "CASES", "--out", "OUT"],
    ],
)
def test_networks_are_judged_with_and_without_their_name(
    arguments: list[str], tmp_path: Path
) -> None:
    places = {name: tmp_path / name.lower() for name in ("MODELS", "CASES", "OUT")}
    for place in places.values():
        place.mkdir()
    given = [str(places.get(each, each)) for each in arguments]
    result = CliRunner().invoke(app, ["evaluate", *given])
    assert isinstance(result.exception, DicomnodeError)
    assert "no cases.json" in str(result.exception)


def test_defacing_has_a_command_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    command = ["evaluate", "deface", str(folder), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, DicomnodeError)
    assert "no DICOM or NIfTI file" in str(result.exception)
