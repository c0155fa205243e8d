"""The same objects under other UIDs: pixels, transfer syntax and all else as they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.config import disable_value_validation
from pydicom.uid import UID

from dicomnode.dicom.derived import Headers, add_contribution
from dicomnode.dicom.header import guard
from dicomnode.dicom.uids import result_uid


@disable_value_validation()
def write_renamed(
    paths: Sequence[Path],
    series_instance_uid: str,
    headers: Headers,
    description: str,
    out: Path,
) -> list[Path]:
    """Write each object as one of another series; what `headers` say comes first.

    Its SOP Instance UID is made of what was there then: the same again is the same.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, path in enumerate(paths, start=1):
        with path.open("rb") as stream:
            guard(stream)
            ds = pydicom.dcmread(stream)
        headers.change(ds)
        ds.SOPInstanceUID = UID(result_uid("renamed", str(ds.SOPInstanceUID), headers.identity))
        ds.SeriesInstanceUID = UID(series_instance_uid)
        add_contribution(ds, description)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        target = out / f"{number:05d}.dcm"
        ds.save_as(target, enforce_file_format=True)
        written.append(target)
    return written
