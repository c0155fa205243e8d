"""What an object says of its patient is read, bounded, and never quoted where it can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.dicom.patient import read_patient
from dicomnode.errors import UnreadableObjectError
from tests.factories import make_series


def test_a_name_is_read_and_an_absent_attribute_is_empty(tmp_path: Path) -> None:
    (file,) = make_series(tmp_path, slices=1, patient="Nobody^Drawn", without=["StudyDescription"])
    said = read_patient(file)
    assert said["Patient’s Name (0010,0010)"] == "Nobody^Drawn"
    assert said["Study Description (0008,1030)"] == ""


def test_a_long_value_with_control_characters_is_cut_and_cleaned(tmp_path: Path) -> None:
    long = {"PatientName": "A\x1b[31m" + "B" * 200}
    (file,) = make_series(tmp_path, slices=1, change=long)
    name = read_patient(file)["Patient’s Name (0010,0010)"]
    assert len(name) <= 64
    assert "\x1b" not in name


def test_what_is_no_object_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"Nobody^Drawn")
    with pytest.raises(UnreadableObjectError) as raised:
        read_patient(file)
    assert "Nobody" not in str(raised.value)


@pytest.mark.parametrize(
    "character_set",
    [
        "ISO_IR 192",
        "ISO 2022 IR 87",
        "\\ISO 2022 IR 149",
        "GB18030",
        "UTF-7",
        "../../etc",
        "x" * 10,
    ],
)
@pytest.mark.parametrize(
    "name",
    [b"\x1b$B\x1b(J=\x1b$", b"\xff\xfe\x00\xd8^", b"\x1b$)C\xfb\xf3^\x1b", b"+ADw-script+AD4-"],
)
def test_no_character_set_makes_a_name_unreadable_or_steers_anything(
    character_set: str, name: bytes, tmp_path: Path
) -> None:
    (file,) = make_series(tmp_path, slices=1, patient="N" * len(name))
    content = file.read_bytes().replace(b"N" * len(name), name)
    file.write_bytes(content.replace(b"ISO_IR 192", character_set[:10].ljust(10).encode()))
    assert read_patient(file)["Patient’s Name (0010,0010)"].isprintable()
