"""`dicomnode explain` of real series says, and writes, what dcm2niix reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from dicomnode.cli import app
from tests.readers import ReadVolume, by_dcm2niix, difference, unmatched

pytestmark = pytest.mark.real_data

RealSeries = Callable[[str], list[Path]]

DECUBITUS = "decubitus_t1_siemens_prisma_4positions"
VENDORS = "dicom2nifti_small_vendor_cases"
CASES = [
    (DECUBITUS, "/HFDL/", 1),
    (VENDORS, "/ge/dti/002/", 4),
    (VENDORS, "/ge/fmri/001/", 2),
    (VENDORS, "/philips/anatomical/001/", 1),
    (VENDORS, "/hyperfine/anatomical/001/", 1),
    (VENDORS, "/siemens_multiframe/anatomical/001/", 1),
    (VENDORS, "/philips_enhanced/anatomical/001_implicit/", 1),
]


def explained(folder: Path, *options: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["explain", "--json", str(folder), *options])
    assert result.exit_code == 0
    series = json.loads(result.stdout)["series"]
    assert isinstance(series, list)
    return series


@pytest.mark.parametrize(("archive", "part", "volumes"), CASES)
def test_what_it_says_and_writes_is_what_dcm2niix_reads(
    archive: str, part: str, volumes: int, real_series: RealSeries, tmp_path: Path
) -> None:
    paths = [path for path in real_series(archive) if part in path.as_posix()]
    (series,) = explained(paths[0].parent, "--nifti", str(tmp_path))
    assert len(series["volumes"]) == volumes
    read = by_dcm2niix(paths)
    written = [nib.load(path) for path in sorted(tmp_path.rglob("*.nii*"))]
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    found = [ReadVolume(np.asarray(image.dataobj), to_lps @ image.affine) for image in written]
    assert unmatched(found, read) == []
    place = ReadVolume(np.zeros(read[0].values.shape), read[0].affine_lps)
    for said in series["volumes"]:
        shown = ReadVolume(np.zeros(said["shape"]), np.array(said["affine_lps"]))
        assert difference(shown, place) == ""


def test_it_explains_a_folder_of_every_vendor(real_series: RealSeries) -> None:
    folder = next(path for path in real_series(VENDORS)[0].parents if path.name == "dicom2nifti")
    series = explained(folder)
    for each in series:
        assert each["volumes"] or each["set_aside"]
        counted = sum(volume["images"] for volume in each["volumes"])
        aside = sum(item["images"] for item in each["set_aside"])
        assert counted + aside >= each["instances"]
    codes = {item["refusal"]["code"] for each in series for item in each["set_aside"]}
    assert {"TOO_FEW_SLICES", "MIXED_ORIENTATION"} <= codes
