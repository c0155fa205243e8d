"""`dicomnode explain` tells of every series, whatever one of them does."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicomnode.app import batch, explain
from dicomnode.cli import app
from dicomnode.dicom.series import SourceStack
from dicomnode.dicom.volume import Volume, read_volume
from tests.factories import make_series


class PatientError(Exception):
    """As other libraries' errors: its message quotes a header."""


@pytest.mark.parametrize("kind", [PatientError, MemoryError])
def test_a_series_that_fails_does_not_stop_the_others(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_series(tmp_path / "a", series="one", slices=5)
    make_series(tmp_path / "b", series="two", slices=6)

    def failing(stack: SourceStack) -> Volume:
        if len(stack.images) == 5:
            raise kind("Doe^Jane")
        return read_volume(stack)

    monkeypatch.setattr(explain, "read_volume", failing)
    for options in (["--json"], []):
        result = CliRunner().invoke(app, ["explain", str(tmp_path), *options])
        assert result.exit_code == 1
        assert kind.__name__ in result.output
        assert "Doe" not in result.output
    result = CliRunner().invoke(app, ["explain", "--json", str(tmp_path)])
    broken, whole = json.loads(result.stdout)["series"]
    assert (broken["volumes"], whole["failure"]) == ([], "")
    assert [volume["images"] for volume in whole["volumes"]] == [6]


def test_a_refused_series_is_no_failure(tmp_path: Path) -> None:
    make_series(tmp_path, slices=5, without=["PixelSpacing"])
    result = CliRunner().invoke(app, ["explain", "--json", str(tmp_path)])
    assert result.exit_code == 0
    (series,) = json.loads(result.stdout)["series"]
    assert series["set_aside"][0]["refusal"]["code"] == "NO_GEOMETRY"


def test_files_without_a_group_length_are_found(tmp_path: Path) -> None:
    for path in make_series(tmp_path, slices=5):
        content = path.read_bytes()
        path.write_bytes(content[:132] + content[144:])
    assert batch.find([tmp_path]).unreadable == ()
    result = CliRunner().invoke(app, ["explain", "--json", str(tmp_path)])
    assert [len(item["volumes"]) for item in json.loads(result.stdout)["series"]] == [1]
