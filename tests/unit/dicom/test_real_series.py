"""What real scanners sent, against SimpleITK (GDCM): which outcome, which values, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from dicomnode.dicom.resample import CanonicalVolume, to_canonical
from dicomnode.dicom.series import SourceSeries, read_series
from dicomnode.dicom.volume import Volume, read_volume
from dicomnode.domain import RefusalCode
from dicomnode.errors import SeriesRefusedError

pytestmark = pytest.mark.real_data

RealSeries = Callable[[str], list[Path]]

DECUBITUS = "decubitus_t1_siemens_prisma_4positions"
VENDORS = "dicom2nifti_small_vendor_cases"


@dataclass(frozen=True)
class Expected:
    """`canonical` is the shape (z, y, x) toward head, posterior, left."""

    archive: str
    folder: str
    canonical: tuple[int, int, int]
    regular: bool = True


VOLUMES = {
    "sag_anon": Expected("sag_anon_mprage_siemens_skyra_3y", "", (256, 256, 192)),
    "uih": Expected("uih_umr770_t1_subjA_134434", "", (512, 460, 160)),
    "studyforrest": Expected("studyforrest_t1_boxmask_zerofill", "", (384, 384, 274)),
    "HFS": Expected(DECUBITUS, "/HFS/", (256, 256, 35)),
    "HFP": Expected(DECUBITUS, "/HFP/", (256, 256, 35)),
    "HFDL": Expected(DECUBITUS, "/HFDL/", (256, 256, 35)),
    "HFDR": Expected(DECUBITUS, "/HFDR/", (256, 256, 35)),
    "CT phantom, tilted": Expected(
        "philips_ingenuity_headphantom_tilt_16slices", "", (16, 537, 512), regular=False
    ),
    "GE": Expected(VENDORS, "/ge/anatomical/001/", (256, 256, 4)),
    "GE, second": Expected(VENDORS, "/data/anatomical/001/", (256, 256, 4)),
    "Siemens": Expected(VENDORS, "/siemens/anatomical/001/", (256, 256, 4)),
    "Philips, coronal": Expected(VENDORS, "/philips/anatomical/001/", (240, 4, 240)),
    "Hitachi": Expected(VENDORS, "/hitachi/anatomical/001/", (64, 64, 4)),
    "Hitachi, implicit": Expected(VENDORS, "/hitachi/anatomical/001_implicit/", (64, 64, 4)),
    "generic": Expected(VENDORS, "/generic/anatomical/001/", (256, 256, 4)),
    "generic, implicit": Expected(VENDORS, "/generic/anatomical/001_implicit/", (256, 256, 4)),
    "not isotropic": Expected(VENDORS, "/generic/anatomical/002_non_isotropic/", (4, 28, 64)),
    "JPEG 2000": Expected(VENDORS, "/generic/compressed/001/", (256, 256, 4)),
    "JPEG 2000, second": Expected(VENDORS, "/generic/compressed_j2k/001/", (256, 256, 4)),
    "JPEG lossless": Expected(VENDORS, "/generic/compressed_jpeg/001/", (256, 256, 4)),
    "JPEG-LS": Expected(VENDORS, "/generic/compressed_jpegls/001/", (256, 256, 4)),
    "RLE": Expected(VENDORS, "/generic/compressed_rle/001/", (256, 256, 4)),
    "CT, tilted": Expected(VENDORS, "/failing/gantrytilting/001/", (4, 521, 512), regular=False),
    "CT, a slice missing": Expected(
        VENDORS, "/failing/sliceincrement/001/", (5, 512, 512), regular=False
    ),
    "CT, tilted and uneven": Expected(
        VENDORS, "/failing/sliceincrement/002/", (5, 514, 512), regular=False
    ),
}

REFUSALS = {
    "mosaic": ("dcm_qa_ts_transfer_syntaxes", "/In/", RefusalCode.MOSAIC),
    "one position": (VENDORS, "/failing/notavolume/001/", RefusalCode.TOO_FEW_SLICES),
    "two slices": (VENDORS, "/failing/slicecount/001/", RefusalCode.TOO_FEW_SLICES),
    "single slice": (VENDORS, "/ge/anatomical/001_single_slice/", RefusalCode.TOO_FEW_SLICES),
    "orientations": (VENDORS, "/failing/sliceorientation/001/", RefusalCode.MIXED_ORIENTATION),
    "GE diffusion": (VENDORS, "/ge/dti/002/", RefusalCode.DUPLICATE_POSITION),
    "GE functional": (VENDORS, "/ge/fmri/001/", RefusalCode.DUPLICATE_POSITION),
    "Philips diffusion": (VENDORS, "/philips/dti/001/", RefusalCode.DUPLICATE_POSITION),
    "Philips functional": (VENDORS, "/philips/fmri/001/", RefusalCode.DUPLICATE_POSITION),
    "Hyperfine enhanced": (VENDORS, "/hyperfine/anatomical/001/", RefusalCode.MULTIFRAME),
    "Philips enhanced": (VENDORS, "/philips_enhanced/anatomical/001/", RefusalCode.MULTIFRAME),
    "Philips enhanced, implicit": (
        VENDORS,
        "/philips_enhanced/anatomical/001_implicit/",
        RefusalCode.MULTIFRAME,
    ),
    "Siemens enhanced": (VENDORS, "/siemens_multiframe/anatomical/001/", RefusalCode.MULTIFRAME),
}


def files_of(real_series: RealSeries, archive: str, folder: str) -> list[Path]:
    paths = [path for path in real_series(archive) if folder in path.as_posix()]
    return [path for path in paths if path.read_bytes()[128:132] == b"DICM"]


@pytest.mark.parametrize("case", VOLUMES)
def test_values_and_places_are_those_that_simpleitk_finds(
    case: str, real_series: RealSeries
) -> None:
    expected = VOLUMES[case]
    source = read_series(files_of(real_series, expected.archive, expected.folder))
    volume = read_volume(source)
    assert source.geometry.is_regular == expected.regular
    for index, path in enumerate(source.paths):
        _same_slice(sitk.ReadImage(str(path)), volume, index)
    canonical = to_canonical(volume)
    assert canonical.array.shape == expected.canonical
    if expected.regular:
        found = _by_simpleitk(source, canonical)
        np.testing.assert_allclose(canonical.array, found, rtol=1e-6)


def _same_slice(image: sitk.Image, volume: Volume, index: int) -> None:
    geometry = volume.geometry
    values = sitk.GetArrayFromImage(image)[0].astype(np.float32)
    if volume.modality == "CT":
        values = np.maximum(values, -1024)
    np.testing.assert_allclose(volume.array[index], values, rtol=1e-6)
    rows, columns = geometry.rows - 1, geometry.columns - 1
    for row, column in ((0, 0), (rows, 0), (0, columns), (rows, columns)):
        ours = (
            geometry.positions_mm[index]
            + row * geometry.pixel_spacing_mm[0] * geometry.column_cosines
            + column * geometry.pixel_spacing_mm[1] * geometry.row_cosines
        )
        theirs = image.TransformIndexToPhysicalPoint((column, row, 0))
        np.testing.assert_allclose(ours, theirs, atol=0.01)


def _by_simpleitk(source: SourceSeries, canonical: CanonicalVolume) -> NDArray[np.float32]:
    """SimpleITK's own volume of the series, sampled at the canonical voxels' patient positions."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in source.paths])
    image = sitk.Cast(reader.Execute(), sitk.sitkFloat32)
    affine, spacing = canonical.affine_lps, canonical.spacing_mm
    grid = sitk.ResampleImageFilter()
    grid.SetSize([int(size) for size in canonical.array.shape[::-1]])
    grid.SetOutputSpacing(spacing[::-1])
    grid.SetOutputOrigin(affine[:3, 3].tolist())
    grid.SetOutputDirection((affine[:3, 2::-1] / np.array(spacing[::-1])).ravel().tolist())
    grid.SetInterpolator(sitk.sitkNearestNeighbor)
    return np.asarray(sitk.GetArrayFromImage(grid.Execute(image)))


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_volume_is_refused(case: str, real_series: RealSeries) -> None:
    archive, folder, code = REFUSALS[case]
    with pytest.raises(SeriesRefusedError) as refused:
        read_volume(read_series(files_of(real_series, archive, folder)))
    assert refused.value.refusal.code == code  # type: ignore[attr-defined]


def test_every_vendor_series_has_its_expected_outcome(real_series: RealSeries) -> None:
    listed = [expected.folder for expected in VOLUMES.values() if expected.archive == VENDORS]
    listed += [folder for archive, folder, _ in REFUSALS.values() if archive == VENDORS]
    unlisted = {
        path.parent.as_posix()
        for path in real_series(VENDORS)
        if path.suffix == ".dcm" and not any(folder in path.as_posix() for folder in listed)
    }
    assert unlisted == set()
