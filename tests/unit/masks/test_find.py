"""Which images a data set holds, and where they belong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dicomnode.masks.find import Place, find, fit
from tests.factories import make_series
from tests.unit.masks.sets import save


def _places(folder: Path) -> dict[str, Place]:
    return {item.key: item.place for item in find(folder).items}


def test_bids_folders_name_data_set_subject_and_session(tmp_path: Path) -> None:
    folder = tmp_path / "my set"
    save(folder / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz")
    save(folder / "ds2/sub-01/anat/sub-01_T1w.nii.gz")
    assert _places(folder) == {
        "sub-01/ses-a/anat/sub-01_ses-a_T1w": Place("my_set", "sub-01", "ses-a"),
        "ds2/sub-01/anat/sub-01_T1w": Place("ds2", "sub-01", "ses-DEFAULT"),
    }


def test_other_files_are_subjects_of_their_own(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.nii", "deep/a.nii.gz"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = find(tmp_path)
    assert [(item.key, item.place.subject) for item in found.items] == [
        ("a_nii", "a"),
        ("a", "a"),
        ("deep/a", "deep_a"),
    ]
    assert (found.others, found.unreadable) == (1, [])


def test_masks_hidden_files_and_our_own_results_are_no_images(tmp_path: Path) -> None:
    save(tmp_path / "sub-1_T1w.nii.gz")
    save(tmp_path / "sub-1_desc-brain_mask.nii.gz")
    save(tmp_path / "._sub-1_T1w.nii.gz")
    save(tmp_path / "sub-1_T1w__anatomy_mask.nii.gz")
    save(tmp_path / "out/series-1__image.nii.gz")
    found = find(tmp_path)
    assert [item.name for item in found.items] == ["sub-1_T1w.nii.gz"]
    assert [path.name for path, _ in found.unreadable] == ["sub-1_desc-brain_mask.nii.gz"]


def test_folders_of_a_dicom_series_name_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    make_series(folder / "MUSTER^ANNA" / "ct")
    (item,) = find(folder).items
    assert re.fullmatch(r"study-[0-9a-f]{12}/series-[0-9a-f]{12}", item.key)
    assert "MUSTER" not in f"{item.key} {item.source} {item.place} {item.name}"
    (folder / "MUSTER^ANNA").rename(folder / "another name")
    assert find(folder).items[0].key == item.key


def test_only_bids_folders_of_a_dicom_series_name_its_masks(tmp_path: Path) -> None:
    make_series(tmp_path / "ds2" / "sub-01" / "ses-1" / "MUSTER^ANNA")
    (item,) = find(tmp_path).items
    assert re.fullmatch(r"ds2/sub-01/ses-1/series-[0-9a-f]{12}", item.key)
    assert item.place == Place("ds2", "sub-01", "ses-1")


def test_patterns_leave_paths_out(tmp_path: Path) -> None:
    save(tmp_path / "func/a_bold.nii.gz")
    save(tmp_path / "anat/a_T1w.nii.gz")
    assert [item.name for item in find(tmp_path, ["func/*"]).items] == ["a_T1w.nii.gz"]


def test_two_files_never_share_the_names_of_their_masks(tmp_path: Path) -> None:
    save(tmp_path / "a.nii")
    save(tmp_path / "a_nii.nii.gz")
    found = find(tmp_path)
    assert [item.name for item in found.items] == ["a.nii"]
    assert "same name" in found.unreadable[0][1]


def test_what_claims_to_be_dicom_and_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"nothing")
    found = find(tmp_path)
    assert found.items == []
    assert "DICM" in found.unreadable[0][1]


@pytest.mark.parametrize(
    ("text", "name"), [("a b/c", "a_b_c"), ("..", "unnamed"), ("a__b", "a_b"), ("ä-1", "ä-1")]
)
def test_parts_of_paths_hold_no_separators(text: str, name: str) -> None:
    assert fit(text) == name
