"""What real scanners sent: which volumes, which values, and where they lie in the patient.

Each outcome is written here by hand and checked against SimpleITK (GDCM), file by file, and
against dcm2niix, volume by volume.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dicomnode.dicom.resample import to_canonical
from dicomnode.dicom.volume import Volume
from dicomnode.domain import RefusalCode
from tests.multiframe import convert_to_legacy
from tests.outcomes import outcome_of, slice_affine, slices_of, whole
from tests.readers import (
    ReadVolume,
    by_dcm2niix,
    by_simpleitk,
    difference,
    unmatched,
)

pytestmark = pytest.mark.real_data

RealSeries = Callable[[str], list[Path]]

SKYRA = "sag_anon_mprage_siemens_skyra_3y"
UIH = "uih_umr770_t1_subjA_134434"
DECUBITUS = "decubitus_t1_siemens_prisma_4positions"
STUDYFORREST = "studyforrest_t1_boxmask_zerofill"
PHANTOM = "philips_ingenuity_headphantom_tilt_16slices"
SYNTAXES = "dcm_qa_ts_transfer_syntaxes"
VENDORS = "dicom2nifti_small_vendor_cases"


@dataclass(frozen=True)
class Expected:
    """One series, found by archive and folder, and each of its `volumes` volumes: shape and
    spacing of (slice, row, column), and toward where each of these grows ("RIP": right,
    inferior, posterior). `canonical` is the shape of what the networks see. `rescales`: each
    slice has its own rescale, where dcm2niix takes that of the first for all."""

    archive: str
    folder: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    axes: str
    canonical: tuple[int, int, int]
    volumes: int = 1
    gaps_mm: tuple[float, ...] = ()  # of uneven stacks
    tilt_degrees: float = 0.0
    rescales: bool = False


VOLUMES = {
    "Siemens Skyra, sagittal oblique": Expected(
        SKYRA, "", (192, 256, 256), (0.9, 0.859, 0.859), "RIP", (256, 256, 192)
    ),
    "UIH": Expected(UIH, "", (160, 512, 460), (1.0, 0.5, 0.5), "RIP", (512, 460, 160)),
    "studyforrest, defaced": Expected(
        STUDYFORREST, "", (384, 384, 274), (0.667, 0.667, 0.7), "SPL", (384, 384, 274)
    ),
    **{
        f"Siemens Prisma, {position}": Expected(
            DECUBITUS,
            f"/{position}/",
            (35, 256, 256),
            (4.8, 1.0156, 1.0156),
            "RIP",
            (256, 256, 35),
        )
        for position in ("HFS", "HFP", "HFDL", "HFDR")
    },
    "Philips CT phantom, tilted": Expected(
        PHANTOM,
        "",
        (16, 512, 512),
        (2.371, 0.482, 0.482),
        "SPL",
        (16, 537, 512),
        tilt_degrees=18.5,
    ),
    "GE": Expected(VENDORS, "/ge/anatomical/001/", (4, 256, 256), (1, 1, 1), "RIP", (256, 256, 4)),
    "GE, second": Expected(
        VENDORS, "/data/anatomical/001/", (4, 256, 256), (1, 1, 1), "RIP", (256, 256, 4)
    ),
    "Siemens": Expected(
        VENDORS, "/siemens/anatomical/001/", (4, 256, 256), (1, 1, 1), "RIP", (256, 256, 4)
    ),
    "Philips, coronal": Expected(
        VENDORS,
        "/philips/anatomical/001/",
        (4, 240, 240),
        (0.6, 1.042, 1.042),
        "PIL",
        (240, 4, 240),
    ),
    **{
        f"Hitachi, {name}": Expected(
            VENDORS,
            f"/hitachi/anatomical/{name}/",
            (4, 64, 64),
            (4, 2.344, 2.344),
            "RIP",
            (64, 64, 4),
        )
        for name in ("001", "001_implicit")
    },
    "not isotropic, another rescale in each slice": Expected(
        VENDORS,
        "/generic/anatomical/002_non_isotropic/",
        (4, 28, 64),
        (0.5, 4, 6.4),
        "SPL",
        (4, 28, 64),
        rescales=True,
    ),
    **{
        f"generic, {name}": Expected(
            VENDORS, f"/generic/{name}/", (4, 256, 256), (1, 1, 1), "RIP", (256, 256, 4)
        )
        for name in (
            "anatomical/001",
            "anatomical/001_implicit",
            "compressed/001",  # JPEG 2000
            "compressed_j2k/001",
            "compressed_jpeg/001",  # lossless
            "compressed_jpegls/001",
            "compressed_rle/001",
        )
    },
    "Siemens CT, tilted": Expected(
        VENDORS,
        "/failing/gantrytilting/001/",
        (4, 512, 512),
        (4.851, 0.418, 0.418),
        "SPL",
        (4, 521, 512),
        tilt_degrees=14.0,
    ),
    "GE CT, a slice missing": Expected(
        VENDORS,
        "/failing/sliceincrement/001/",
        (4, 512, 512),
        (5.0, 0.43, 0.43),
        "SPL",
        (5, 512, 512),
        gaps_mm=(5.0, 5.0, 10.0),
    ),
    "Siemens CT, tilted and a slice missing": Expected(
        VENDORS,
        "/failing/sliceincrement/002/",
        (4, 512, 512),
        (0.75, 0.512, 0.512),
        "SPL",
        (5, 514, 512),
        gaps_mm=(0.75, 0.75, 1.5),
        tilt_degrees=15.5,
    ),
    "GE diffusion": Expected(
        VENDORS,
        "/ge/dti/002/",
        (4, 64, 64),
        (3.8, 3.4375, 3.4375),
        "PIL",
        (64, 4, 64),
        volumes=4,
    ),
    "GE functional": Expected(
        VENDORS, "/ge/fmri/001/", (4, 64, 64), (3.6, 3, 3), "SPL", (4, 64, 64), volumes=2
    ),
    "Hyperfine enhanced": Expected(
        VENDORS,
        "/hyperfine/anatomical/001/",
        (8, 138, 112),
        (5.0, 1.61, 1.59),
        "SPL",
        (8, 138, 112),
    ),
    "Philips enhanced": Expected(
        VENDORS,
        "/philips_enhanced/anatomical/001/",
        (8, 256, 256),
        (1.2, 1, 1),
        "RIP",
        (256, 256, 8),
    ),
    "Philips enhanced, implicit": Expected(
        VENDORS,
        "/philips_enhanced/anatomical/001_implicit/",
        (8, 256, 256),
        (1.0, 0.9375, 0.9375),
        "RIP",
        (256, 256, 8),
    ),
    "Siemens enhanced, without shared functional groups": Expected(
        VENDORS,
        "/siemens_multiframe/anatomical/001/",
        (8, 256, 256),
        (0.9, 0.9375, 0.9375),
        "SPL",
        (8, 256, 256),
    ),
}

REFUSALS = {
    "mosaic": (SYNTAXES, "/In/", RefusalCode.MOSAIC),
    "one position": (VENDORS, "/failing/notavolume/001/", RefusalCode.TOO_FEW_SLICES),
    "two slices": (VENDORS, "/failing/slicecount/001/", RefusalCode.TOO_FEW_SLICES),
    "single slice": (VENDORS, "/ge/anatomical/001_single_slice/", RefusalCode.TOO_FEW_SLICES),
    "two orientations": (VENDORS, "/failing/sliceorientation/001/", RefusalCode.MIXED_ORIENTATION),
    "Philips diffusion, four of two": (VENDORS, "/philips/dti/001/", RefusalCode.TOO_FEW_SLICES),
    "Philips functional, four of two": (VENDORS, "/philips/fmri/001/", RefusalCode.TOO_FEW_SLICES),
}


def files_of(real_series: RealSeries, archive: str, folder: str) -> list[Path]:
    paths = [path for path in real_series(archive) if folder in path.as_posix()]
    return [path for path in paths if path.read_bytes()[128:132] == b"DICM"]


@pytest.mark.parametrize("case", VOLUMES)
def test_each_series_becomes_the_volumes_that_other_readers_find(
    case: str, real_series: RealSeries
) -> None:
    expected = VOLUMES[case]
    paths = files_of(real_series, expected.archive, expected.folder)
    outcome = outcome_of(paths)
    assert outcome.codes == set()
    assert len(outcome.volumes) == expected.volumes
    assert len({stack.label for stack in outcome.stacks}) == expected.volumes
    for volume in outcome.volumes:
        _looks_as_expected(volume, expected)
    _agrees_with_simpleitk(outcome.volumes, paths)
    if not expected.gaps_mm and not expected.rescales:  # NIfTI can't say where uneven slices lie
        _agrees_with_dcm2niix(outcome.volumes, paths)


def _looks_as_expected(volume: Volume, expected: Expected) -> None:
    geometry = volume.geometry
    assert geometry.shape == volume.array.shape == expected.shape
    assert volume.array.dtype == np.float32
    spacing = (geometry.slice_spacing_mm, *geometry.pixel_spacing_mm)
    np.testing.assert_allclose(spacing, expected.spacing_mm, atol=0.001)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ slice_affine(volume, 0)
    assert "".join(nib.aff2axcodes(ras)) == expected.axes
    gaps = expected.gaps_mm or (expected.spacing_mm[0],) * (expected.shape[0] - 1)
    np.testing.assert_allclose(sorted(geometry.gaps_mm), gaps, atol=0.01)
    assert geometry.tilt_degrees == pytest.approx(expected.tilt_degrees, abs=0.05)
    assert to_canonical(volume).array.shape == expected.canonical


def _lowest(volumes: tuple[Volume, ...]) -> float:
    """CT values end at -1024 HU here; what lies below is padding, and air."""
    return -1024.0 if volumes[0].modality == "CT" else -np.inf


def _agrees_with_simpleitk(volumes: tuple[Volume, ...], paths: list[Path]) -> None:
    read = [by_simpleitk(path) for path in paths]
    if len(read) == 1:
        assert difference(whole(volumes[0]), read[0]) == ""
    else:
        slices = [piece for volume in volumes for piece in slices_of(volume)]
        assert unmatched(slices, read, _lowest(volumes)) == []


def _agrees_with_dcm2niix(volumes: tuple[Volume, ...], paths: list[Path]) -> None:
    read = by_dcm2niix(paths)
    assert unmatched([whole(volume) for volume in volumes], read, _lowest(volumes)) == []
    if all(volume.geometry.is_regular for volume in volumes):
        canonical = [to_canonical(volume) for volume in volumes]
        seen = [ReadVolume(each.array, each.affine_lps) for each in canonical]
        assert unmatched(seen, read, _lowest(volumes)) == []


@pytest.mark.parametrize(
    "case",
    [
        "Siemens Prisma, HFDL",
        "Philips CT phantom, tilted",
        "not isotropic, another rescale in each slice",
        "Siemens CT, tilted and a slice missing",
        "GE diffusion",
        "GE functional",
    ],
)
def test_converted_to_one_multi_frame_object_it_is_the_same(
    case: str, real_series: RealSeries, tmp_path: Path
) -> None:
    expected = VOLUMES[case]
    paths = files_of(real_series, expected.archive, expected.folder)
    single, converted = outcome_of(paths), outcome_of([convert_to_legacy(paths, tmp_path)])
    assert converted.codes == set()
    assert len(converted.volumes) == expected.volumes
    for one, other in zip(single.volumes, converted.volumes, strict=True):
        assert unmatched(slices_of(one), slices_of(other)) == []


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_volume_is_refused(case: str, real_series: RealSeries) -> None:
    archive, folder, code = REFUSALS[case]
    paths = files_of(real_series, archive, folder)
    outcome = outcome_of(paths)
    assert outcome.volumes == ()
    assert outcome.codes == {code}
    assert outcome.images_aside(code) == len(paths)


def test_every_series_has_its_expected_outcome(real_data: Path, real_series: RealSeries) -> None:
    listed = [(expected.archive, expected.folder) for expected in VOLUMES.values()]
    listed += [(archive, folder) for archive, folder, _ in REFUSALS.values()]
    folders = ("vendor_dicom", "heads_mr", "heads_ct_phantom", "heads_defaced")
    archives = [path for folder in folders for path in (real_data / folder).glob("*.tar.xz")]
    names = {path.name.removesuffix(".tar.xz") for path in archives}
    assert names == {archive for archive, _ in listed}
    for name in names:
        mine = [folder for archive, folder in listed if archive == name]
        for path in files_of(real_series, name, ""):
            assert sum(folder in path.as_posix() for folder in mine) == 1, path.parent
