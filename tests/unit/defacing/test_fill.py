"""What stands where the face was: the scanner's background; each defect of the published script."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.defacing.fill import fill_background, fill_blurred, plain_air
from dicomnode.defacing.slices import Limits, Line, Slices
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.volume import Volume
from dicomnode.domain import Acquisition, HeaderClaims
from tests.unit.defacing.heads import SPACING_MM, head

SIGNED = Limits(-32768, 32767)
TWELVE_BITS = Limits(0, 4095)


def slices_of(
    planes: list[np.ndarray], line: Line, limits: Limits = SIGNED, modality: str = "CT"
) -> Slices:
    array = np.stack(planes).astype(np.float32)
    positions_mm = np.outer(np.arange(len(planes)), [0.0, 0.0, SPACING_MM[0]])
    geometry = SliceGeometry(
        positions_mm,
        np.array([1.0, 0.0, 0.0]),
        np.array([0.0, 1.0, 0.0]),
        SPACING_MM[1:],
        *array.shape[1:],
    )
    count, padding = len(planes), np.zeros(array.shape, bool)
    volume = Volume(array * line.slope + line.intercept, geometry, modality)
    of_each = ([line] * count, [limits] * count)
    return Slices(volume, planes, *of_each, padding, HeaderClaims(), Acquisition())


def filled(
    planes: list[np.ndarray],
    removed: np.ndarray,
    air: np.ndarray,
    line: Line,
    limits: Limits = SIGNED,
    modality: str = "CT",
    *,
    constant: bool = False,
) -> list[np.ndarray]:
    new = [plane.copy() for plane in planes]
    source = slices_of(planes, line, limits, modality)
    fill_background(new, removed, air, source, seed=7, constant=constant)
    return new


def scene(modality: str) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    drawn = head(modality)
    planes = [np.rint(plane).astype(np.int16) for plane in drawn.array]
    air = plain_air(drawn.array, drawn.foreground, SPACING_MM, modality)
    return planes, drawn.face, air


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_fill_has_the_mean_and_the_noise_of_the_scanners_own_air(modality: str) -> None:
    planes, face, air = scene(modality)
    new = np.stack(filled(planes, face, air, Line(1.0, 0.0), modality=modality))
    old = np.stack(planes)
    assert abs(new[face].mean() - old[air].mean()) < 0.2 * old[air].std() + 1
    assert new[face].std() == pytest.approx(old[air].std(), rel=0.2)


def test_only_the_removed_voxels_change() -> None:
    planes, face, air = scene("CT")
    new = np.stack(filled(planes, face, air, Line(1.0, 0.0)))
    assert np.array_equal(new[~face], np.stack(planes)[~face])


def test_the_same_series_is_filled_alike() -> None:
    planes, face, air = scene("MR")
    one, two = (filled(planes, face, air, Line(1.0, 0.0), modality="MR") for _ in range(2))
    assert np.array_equal(np.stack(one), np.stack(two))


def test_the_fill_is_never_tissue_where_little_air_is_in_view() -> None:
    """The 10th percentile of a volume that is nearly all head is muscle."""
    planes = [np.full((64, 64), 60, np.int16) for _ in range(4)]
    removed = np.zeros((4, 64, 64), bool)
    removed[:, 20:40, 20:40] = True
    new = np.stack(filled(planes, removed, np.zeros_like(removed), Line(1.0, 0.0)))
    assert new[removed].mean() == pytest.approx(-1000, abs=5)
    assert new[removed].max() < -900


def test_the_fill_is_never_padding() -> None:
    """Scanners write -2048 or -3024 outside of the scan circle; that is no air."""
    drawn = head("CT")
    array = drawn.array.copy()
    array[:, :8, :] = -2048.0
    array[:, -8:, :] = -3024.0
    air = plain_air(array, drawn.foreground, SPACING_MM, "CT")
    planes = [np.rint(plane).astype(np.int16) for plane in array]
    new = np.stack(filled(planes, drawn.face, air, Line(1.0, 0.0)))
    assert new[drawn.face].min() > -1100


def test_the_rescale_intercept_is_not_applied_twice() -> None:
    """Stored 24 is -1000 HU here; a fork of the published script lost 1024 once more."""
    line = Line(1.0, -1024.0)
    planes = [np.full((64, 64), 1084, np.int16) for _ in range(3)]
    removed = np.zeros((3, 64, 64), bool)
    removed[:, 10:30, 10:30] = True
    new = np.stack(filled(planes, removed, np.zeros_like(removed), line, TWELVE_BITS))
    values = new[removed] * line.slope + line.intercept
    assert values.mean() == pytest.approx(-1000, abs=5)


def test_values_stay_in_the_range_that_their_bits_hold() -> None:
    line = Line(1.0, 0.0)  # -1000 HU can't be stored unsigned
    planes = [np.full((64, 64), 60, np.uint16) for _ in range(2)]
    removed = np.zeros((2, 64, 64), bool)
    removed[:, 10:30, 10:30] = True
    new = np.stack(filled(planes, removed, np.zeros_like(removed), line, TWELVE_BITS))
    assert new.min() >= 0
    assert new.max() <= 4095


def test_every_slice_of_a_series_is_filled_not_only_the_last() -> None:
    planes, face, air = scene("MR")
    new = filled(planes, face, air, Line(1.0, 0.0), modality="MR")
    touched = [bool((new[k] != planes[k]).any()) for k in range(len(planes))]
    assert all(touched[k] for k in range(len(planes)) if face[k].sum() > 50)


def test_a_constant_fill_is_the_median_of_the_air() -> None:
    planes, face, air = scene("CT")
    new = filled(planes, face, air, Line(1.0, 0.0), constant=True)
    for plane, hidden in zip(new, face, strict=True):
        assert len(np.unique(plane[hidden])) <= 1


def test_a_blurred_face_keeps_no_edge_of_it() -> None:
    drawn = head("MR")
    planes = [np.rint(plane).astype(np.int16) for plane in drawn.array]
    source = slices_of([plane.copy() for plane in planes], Line(1.0, 0.0), modality="MR")
    before = np.stack(planes).astype(float)
    fill_blurred(planes, drawn.face, source)
    after = np.stack(planes).astype(float)

    def steps(volume: np.ndarray) -> float:
        both = drawn.face[:, 1:, :] & drawn.face[:, :-1, :]
        return float(np.abs(np.diff(volume, axis=1))[both].mean())

    assert steps(after) < 0.2 * steps(before)
    assert np.array_equal(after[~drawn.face], before[~drawn.face])


def test_values_that_are_no_whole_numbers_stay_so() -> None:
    """NIfTI files often hold floats; background is repeated as it lies there."""
    drawn = head("MR")
    planes = [plane / np.float32(7.0) for plane in drawn.array]
    air = plain_air(drawn.array, drawn.foreground, SPACING_MM, "MR")
    new = np.stack(filled(planes, drawn.face, air, Line(1.0, 0.0), modality="MR"))
    assert new.dtype == np.float32
    assert set(new[drawn.face].tolist()) <= set(np.stack(planes)[air].tolist())
