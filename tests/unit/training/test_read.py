"""Training reads what the node reads: the same volumes, and what is none is told."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.misc import is_dicom

from dicomnode.training.drawn import Affine
from dicomnode.training.find import Skips, find
from dicomnode.training.grid import to_hpl
from dicomnode.training.read import Scan, read_scans, write_nifti
from tests.factories import SAGITTAL, make_series


def _read(source: Path) -> tuple[list[Scan], Skips]:
    skips = Skips()
    return [scan for found in find([source], skips) for scan in read_scans(found, skips)], skips


def _as_headers_say(paths: list[Path]) -> tuple[np.ndarray, Affine]:
    """PS3.3 C.7.6.2.1.1, for evenly spaced slices."""
    slices = [pydicom.dcmread(path) for path in paths]
    cosines = np.array(slices[0].ImageOrientationPatient, float)
    normal = np.cross(cosines[:3], cosines[3:])
    slices.sort(key=lambda ds: float(np.array(ds.ImagePositionPatient, float) @ normal))
    first, last = (np.array(ds.ImagePositionPatient, float) for ds in (slices[0], slices[-1]))
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(slices) - 1)
    affine[:3, 1] = cosines[3:] * float(slices[0].PixelSpacing[0])
    affine[:3, 2] = cosines[:3] * float(slices[0].PixelSpacing[1])
    affine[:3, 3] = first
    return to_hpl(np.stack([ds.pixel_array for ds in slices]).astype(np.float32), affine)


def test_a_series_lies_where_its_headers_say(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "anna", orientation=SAGITTAL, slices=16, columns=40)
    (scan,), skips = _read(tmp_path)
    array, affine = _as_headers_say(paths)
    assert (scan.name, scan.modality, skips.items) == ("anna_0", "MR", [])
    assert np.array_equal(scan.array, array)
    assert np.allclose(scan.affine, affine)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["studyforrest_t1_boxmask_zerofill", "uih_umr770_t1_subjA_134434"])
def test_a_real_series_lies_where_its_headers_say(
    real_data: Path, real_series: Callable[[str], list[Path]], name: str
) -> None:
    (archive,) = real_data.glob(f"*/{name}.tar.xz")
    (scan,), _ = _read(archive)
    array, affine = _as_headers_say([path for path in real_series(name) if is_dicom(path)])
    assert (scan.name, scan.modality) == (f"{name}_0", "MR")
    assert np.array_equal(scan.array, array)
    assert np.abs(scan.affine - affine).max() < 1e-3


def test_an_archive_holds_what_the_folder_holds(tmp_path: Path) -> None:
    for k in range(2):
        make_series(tmp_path / "two" / str(k), modality="CT", series=str(k))
    with tarfile.open(tmp_path / "two.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "two", "two")
    packed, _ = _read(tmp_path / "two.tar.xz")
    loose, _ = _read(tmp_path / "two")
    assert [scan.name for scan in packed] == ["two_0", "two_1"]
    assert [scan.modality for scan in packed] == ["CT", "CT"]
    for a, b in zip(packed, loose, strict=True):
        assert np.array_equal(a.array, b.array)


def test_files_without_a_suffix_are_read(tmp_path: Path) -> None:
    for path in make_series(tmp_path / "anna"):
        path.rename(path.with_suffix(""))
    assert len(_read(tmp_path)[0]) == 1


def test_a_tilted_gantry_is_brought_to_right_angles(tmp_path: Path) -> None:
    make_series(tmp_path / "anna", modality="CT", tilt_degrees=15)
    (scan,), _ = _read(tmp_path)
    axes = scan.affine[:3, :3] / np.linalg.norm(scan.affine[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)


def test_a_stack_that_leans_a_little_is_not_interpolated(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "anna", modality="MR", tilt_degrees=1.7)
    (scan,), _ = _read(tmp_path)
    array, affine = _as_headers_say(paths)
    assert np.array_equal(scan.array, array)
    assert np.allclose(scan.affine, affine)


def test_what_is_no_scan_is_told_and_costs_no_other(tmp_path: Path) -> None:
    make_series(tmp_path / "good")
    make_series(tmp_path / "few", slices=6)
    make_series(tmp_path / "other", modality="OT")
    (tmp_path / "good" / "notes").write_text("Anna Example")
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    write_nifti(tmp_path / "time.nii.gz", np.zeros((12, 12, 12, 3), np.float32), np.eye(4))
    scans, skips = _read(tmp_path)
    assert [scan.name for scan in scans] == ["good_0"]
    reasons = {one.file: one.reason for one in skips.items}
    assert set(reasons) == {
        "good/notes",
        "few/0000.dcm",
        "other/0000.dcm",
        "broken.tar",
        "broken.nii.gz",
        "time.nii.gz",
    }
    assert "less than 10 slices" in reasons["few/0000.dcm"]
    assert "SECONDARY_CAPTURE" in reasons["other/0000.dcm"]
    assert "not one volume" in reasons["time.nii.gz"]
    assert "Example" not in str(reasons)


def test_an_archive_that_climbs_out_is_not_unpacked(tmp_path: Path) -> None:
    (path, *_) = make_series(tmp_path / "series")
    with tarfile.open(tmp_path / "own.tar", "w") as archive:
        archive.add(path, "../outside.dcm")
    scans, skips = _read(tmp_path / "own.tar")
    assert (scans, [one.file for one in skips.items]) == ([], ["own.tar"])
