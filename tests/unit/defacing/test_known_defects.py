"""Known defects of the published CTA-DEFACE script and its forks (`field.md`): each has a test.

| defect | test |
|---|---|
| its fill, the 10th percentile, is tissue | test_fill: never_tissue_where_little_air_is_in_view |
| ... or padding | test_fill: never_padding |
| a skin shell stays | test_region: a_skin_shell_of_two_voxels_does_not_stay |
| a fine mask needs background noise | test_fill: the_mean_and_the_noise_of_the_scanners_own_air |
| RescaleIntercept twice | test_fill: the_rescale_intercept_is_not_applied_twice |
| only the last case of a batch | here |
| header and dtype lost | here |
| rotation guessed | here |
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from dicomnode.app.batch import Line, find
from dicomnode.app.deface import Defacer, deface_all
from dicomnode.config import Settings
from dicomnode.defacing.deface import deface_nifti
from dicomnode.dicom.derived import AS_THEY_CAME
from dicomnode.errors import RenderingError
from dicomnode.inference import assessment
from dicomnode.training.drawn import DrawnHead, draw_head
from tests.remembering import Memory, networks

SPACING_MM = 5.0
Values = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _unpictured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RenderingError("nobody looks")

    monkeypatch.setattr(assessment, "render", refuse)


@cache
def drawn() -> DrawnHead:
    return draw_head(9001, "CT", spacing_mm=SPACING_MM)


def write(path: Path, kind: type = np.int16, axes: str = "RAS") -> nib.Nifti1Image:
    """The head as a file whose voxels run along `axes`."""
    head = drawn()
    values = np.rint(head.array).transpose(2, 1, 0)  # axes toward left, posterior and head
    image = nib.Nifti1Image(values.astype(kind), np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1]))
    now = nib.io_orientation(image.affine)
    turn = nib.orientations.ornt_transform(now, nib.orientations.axcodes2ornt(axes))
    image = image.as_reoriented(turn)
    image.header.set_data_dtype(kind)
    image.header["descrip"] = b"a head of 4711"
    nib.save(image, path)
    return image


def deface(path: Path, out: Path) -> nib.Nifti1Image:
    made = deface_nifti(path, networks(Memory()), Settings(), out, modality="CT")
    assert made.found.proof.is_given
    return nib.load(out)


def upright(image: nib.Nifti1Image) -> Values:
    return np.asarray(nib.as_closest_canonical(image).dataobj)


def test_not_only_the_last_case_of_a_batch_is_defaced(tmp_path: Path) -> None:
    names = ("first.nii.gz", "last.nii.gz")
    cases = tmp_path / "cases"
    cases.mkdir()
    for name in names:
        write(cases / name)
    lines: list[Line] = []
    defacer = Defacer(
        networks(Memory()), Settings(), tmp_path / "out", AS_THEY_CAME, nifti_modality="CT"
    )
    tally = deface_all(find([cases]), defacer, lines.extend)
    assert (tally.defaced, tally.held, tally.failed) == (2, 0, 0)
    for line in lines:
        before = nib.load(str(line["path"]))
        after = nib.load(Path(str(line["folder"])) / Path(str(line["path"])).name)
        assert (np.asarray(before.dataobj) != np.asarray(after.dataobj)).any()
    assert sorted(Path(str(line["path"])).name for line in lines) == sorted(names)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_header_and_data_type_stay_what_they_were(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "head.nii.gz"
    before = write(path, kind)
    after = deface(path, tmp_path / "out.nii.gz")
    assert after.header.binaryblock == nib.load(path).header.binaryblock
    assert after.get_data_dtype() == np.asarray(after.dataobj).dtype == np.dtype(kind)
    assert np.array_equal(after.affine, before.affine)


def test_no_rotation_is_guessed(tmp_path: Path) -> None:
    """However its voxels run, the same ones are the face, and the file's axes stay."""
    changed = []
    for axes in ("LPS", "RAS", "PIR"):  # the last one sagittal, head down
        path = tmp_path / f"{axes}.nii.gz"
        before = write(path, axes=axes)
        after = deface(path, tmp_path / f"{axes}-out.nii.gz")
        assert nib.aff2axcodes(after.affine) == tuple(axes)
        changed.append(upright(before) != upright(after))
    share = changed[0].mean(axis=(0, 2))  # from the back of the head to its front
    assert share[: len(share) // 2].sum() == 0 < share.max()
    for other in changed[1:]:
        both = np.count_nonzero(changed[0] & other)
        assert 2 * both / (changed[0].sum() + other.sum()) > 0.99
