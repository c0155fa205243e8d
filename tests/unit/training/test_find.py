"""Which scans the sources hold, what they show, and of whom they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.training.find import Found, Skips, find


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _found(*sources: Path) -> list[Found]:
    return find(sources, Skips())


def _names(*sources: Path) -> list[tuple[str, str, str | None]]:
    return [(one.name, one.kind, one.person) for one in _found(*sources)]


def test_folders_with_known_names_say_what_their_scans_show(tmp_path: Path) -> None:
    _touch(tmp_path, "heads_mr/b.tar.xz", "heads_mr/a.nii.gz", "nonhead/trunk.nii")
    _touch(tmp_path, "heads_defaced/gone.nii.gz", "templates_masks/avg152T1.nii.gz")
    assert _names(tmp_path) == [
        ("gone", "defaced", None),
        ("a", "head", None),
        ("b", "head", None),
        ("trunk", "body", None),
    ]


def test_what_lies_beside_folders_with_known_names_is_told(tmp_path: Path) -> None:
    _touch(tmp_path, "heads/a.nii.gz", "more/b.nii.gz", "c.nii.gz", "templates_masks/x")
    skips = Skips()
    assert [one.name for one in find([tmp_path], skips)] == ["a"]
    assert [one.file for one in skips.items] == ["c.nii.gz", "more"]


def test_a_folder_with_a_known_name_counts_as_it_says_and_so_does_a_file_in_it(
    tmp_path: Path,
) -> None:
    folder = _touch(tmp_path / "nonhead", "trunk.nii.gz")
    assert _names(folder) == _names(folder / "trunk.nii.gz") == [("trunk", "body", None)]


def test_any_other_folder_holds_heads_in_every_format(tmp_path: Path) -> None:
    own = _touch(tmp_path / "own", "a.nii", "b.tgz", "anna/1/IM1", "anna/2/IM1", "IM7.dcm")
    found = {one.name: one for one in _found(own)}
    assert list(found) == ["a", "b", "own", "anna"]
    assert {one.kind for one in found.values()} == {"head"}
    assert [found["anna"].label(path) for path in found["anna"].paths] == [
        "anna/1/IM1",
        "anna/2/IM1",
    ]
    assert [path.name for path in found["own"].paths] == ["IM7.dcm"]


def test_a_single_file_is_a_head(tmp_path: Path) -> None:
    _touch(tmp_path, "a.nii.gz", "b.nii.gz")
    assert _names(tmp_path / "a.nii.gz") == [("a", "head", None)]


def test_a_folder_below_is_a_person_and_names_its_scans(tmp_path: Path) -> None:
    _touch(tmp_path, "anna/T1.nii.gz", "anna/later/T1.nii.gz", "bert/T1.nii.gz", "loose.nii.gz")
    assert {(name, person) for name, _, person in _names(tmp_path)} == {
        ("anna_T1", "anna"),
        ("bert_T1", "bert"),
        ("loose", None),
    }


@pytest.mark.parametrize("given", [".", "rawdata", "rawdata/sub-01"])
def test_a_bids_subject_is_a_person_from_wherever_it_is_given(tmp_path: Path, given: str) -> None:
    _touch(tmp_path, "rawdata/sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz")
    assert _names(tmp_path / given) == [("sub-01_ses-2_T1w", "head", "sub-01")]


def test_hidden_files_and_those_of_the_template_are_no_heads(tmp_path: Path) -> None:
    _touch(tmp_path, ".DS_Store", "._a.nii.gz", ".git/x", "avg152T1.nii.gz", "avg152T1mask.nii.gz")
    _touch(tmp_path, "templates_masks/pydeface_facemask.nii.gz", "a.nii.gz")
    assert [one.name for one in _found(tmp_path)] == ["a"]


def test_a_file_that_two_sources_hold_counts_once(tmp_path: Path) -> None:
    _touch(tmp_path, "anna/T1.nii.gz")
    assert len(_found(tmp_path, tmp_path / "anna")) == 1
