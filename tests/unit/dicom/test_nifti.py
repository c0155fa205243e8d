import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomnode.dicom.nifti import (
    read_nifti,
    read_stored_nifti,
    write_mask_nifti,
    write_stored_nifti,
    write_volume_nifti,
)
from dicomnode.dicom.resample import mask_to_source, to_canonical
from dicomnode.domain import RefusalCode
from dicomnode.errors import SeriesRefusedError


def affine_of(directions: Any, spacing: tuple[float, float, float]) -> Any:
    affine = np.eye(4)
    affine[:3, :3] = np.array(directions) * spacing
    affine[:3, 3] = (11.0, -22.0, 33.0)
    return affine


def save(path: Path, array: Any, affine: Any, code: int = 1) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code)
    image.set_qform(affine if code else None, code)
    nib.save(image, path)
    return path


def test_values_are_found_at_their_place_in_the_patient(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 900, (7, 8, 9)).astype(np.int16)
    affine = affine_of([[0, 0, -1], [1, 0, 0], [0, -1, 0]], (1.0, 2.0, 3.0))
    volume = read_nifti(save(tmp_path / "a.nii.gz", array, affine))
    canonical = to_canonical(volume)
    z, y, x = 2, 3, 4
    left, posterior, head = (canonical.affine_lps @ (z, y, x, 1))[:3]
    i, j, k = np.rint(np.linalg.inv(affine) @ (-left, -posterior, head, 1))[:3].astype(int)
    assert canonical.array[z, y, x] == array[i, j, k]


@settings(max_examples=30, deadline=None)
@given(
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.integers(0, 100),
)
def test_a_mask_lies_on_the_grid_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, axes: list[int], signs: tuple[int, ...], seed: int
) -> None:
    directions = np.eye(3)[axes] * signs
    array = np.random.default_rng(seed).integers(0, 2, (5, 6, 7)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("nifti")
    path = save(folder / "a.nii", array, affine_of(directions, (1.5, 2.5, 3.5)))
    volume = read_nifti(path)
    canonical = to_canonical(volume)
    mask = mask_to_source(canonical.array.astype(np.uint8), canonical, volume.geometry)
    write_mask_nifti(mask, path, folder / "mask.nii.gz")
    back, source = nib.load(folder / "mask.nii.gz"), nib.load(path)
    assert np.array_equal(np.asarray(back.dataobj), array)
    assert back.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(back.affine, source.affine)


def test_a_sheared_affine_is_straightened_for_the_networks(tmp_path: Path) -> None:
    affine = affine_of([[1, 0, 0.3], [0, 1, 0], [0, 0, 1]], (1, 1, 1))
    volume = read_nifti(save_sheared(tmp_path / "a.nii", affine))
    assert volume.geometry.is_sheared
    assert to_canonical(volume).array.shape[2] > 20


def save_sheared(path: Path, affine: Any) -> Path:
    image = nib.Nifti1Image(np.zeros((20, 20, 20), np.float32), affine)
    image.set_sform(affine, 1)
    nib.save(image, path)
    return path


def test_not_a_number_counts_as_air(tmp_path: Path) -> None:
    array = np.full((5, 5, 5), 7.0, np.float32)
    array[0] = np.nan
    assert read_nifti(save(tmp_path / "a.nii", array, np.eye(4))).array.max() == 7.0


REFUSED: dict[str, tuple[RefusalCode, Any, int]] = {
    "four dimensions": (RefusalCode.NOT_VOLUMETRIC, np.zeros((5, 5, 5, 3), np.float32), 1),
    "two dimensions": (RefusalCode.NOT_VOLUMETRIC, np.zeros((5, 5), np.float32), 1),
    "too few slices": (RefusalCode.TOO_FEW_SLICES, np.zeros((5, 5, 2), np.float32), 1),
    "no orientation": (RefusalCode.NO_GEOMETRY, np.zeros((5, 5, 5), np.float32), 0),
    "colour": (
        RefusalCode.NOT_MONOCHROME,
        np.zeros((5, 5, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])),
        1,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_volume_is_refused(case: str, tmp_path: Path) -> None:
    code, array, orientation_code = REFUSED[case]
    path = save(tmp_path / "a.nii", array, np.eye(4), orientation_code)
    with pytest.raises(SeriesRefusedError) as refused:
        read_nifti(path)
    assert refused.value.refusal.code == code  # type: ignore[attr-defined]


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x1f\x8b broken gzip"])
def test_a_file_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SeriesRefusedError):
            read_nifti(tmp_path / name)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.ones((9, 9, 9), np.float32), np.eye(4))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SeriesRefusedError):
        read_nifti(path)


def test_a_written_volume_says_that_it_lies_as_scanned(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(7, 8, 9)).astype(np.float32)
    affine = affine_of([[0, 0, -1], [1, 0, 0], [0, -1, 0]], (1.0, 2.0, 3.0))
    canonical = to_canonical(read_nifti(save(tmp_path / "a.nii.gz", array, affine)))
    write_volume_nifti(canonical, tmp_path / "b.nii.gz")
    written = nib.load(tmp_path / "b.nii.gz")
    assert (written.header["qform_code"], written.header["sform_code"]) == (1, 1)
    np.testing.assert_allclose(written.get_qform(), written.get_sform(), atol=1e-4)
    to_voxel = np.linalg.inv(affine) @ written.affine
    at = np.rint(to_voxel @ (2, 3, 4, 1))[:3].astype(int)
    assert written.get_fdata()[2, 3, 4] == pytest.approx(array[tuple(at)])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, ">i2"])
@pytest.mark.parametrize("flip", [1, -1])
def test_other_stored_values_change_nothing_else_in_the_file(
    tmp_path: Path, name: str, kind: Any, flip: int
) -> None:
    source, out = tmp_path / name, tmp_path / f"out-{name}"
    array = np.random.default_rng(1).integers(0, 200, (5, 6, 7)).astype(kind)
    image = nib.Nifti1Image(array, affine_of([[flip, 0, 0], [0, 1, 0], [0, 0, 1]], (1, 2, 3)))
    image.header.set_slope_inter(0.5, -3)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Somebody^Else"))
    image.header["descrip"] = b"Somebody^Else"
    nib.save(image, source)
    before = read_stored_nifti(source)
    planes = before.stored.copy()
    planes[1, 2, 3] = 77
    write_stored_nifti(list(planes), source, out, without_words=False)
    again = read_stored_nifti(out)
    assert np.array_equal(again.stored, planes)
    assert (again.slope, again.intercept) == (before.slope, before.intercept)
    assert again.stored.dtype == before.stored.dtype
    write_stored_nifti(list(before.stored), source, out, without_words=False)
    assert plain(out) == plain(source)


def plain(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_free_text_and_extensions_can_be_left_out(tmp_path: Path) -> None:
    array = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    image = nib.Nifti1Image(array, affine_of(np.eye(3), (1, 2, 3)))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Somebody^Else"))
    for field in ("descrip", "db_name", "aux_file", "intent_name"):
        image.header[field] = b"Somebody"
    nib.save(image, tmp_path / "a.nii")
    found = read_stored_nifti(tmp_path / "a.nii")
    write_stored_nifti(found.stored, tmp_path / "a.nii", tmp_path / "b.nii", without_words=True)
    assert b"Somebody" not in (tmp_path / "b.nii").read_bytes()
    again = nib.load(tmp_path / "b.nii")
    assert np.array_equal(np.asarray(again.dataobj), array)
    assert np.array_equal(again.affine, image.affine)
