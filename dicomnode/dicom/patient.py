"""What one object says of its patient: read for a person who may see it, and kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pydicom

from dicomnode.dicom.header import PARSE_ERRORS, reason
from dicomnode.errors import UnreadableObjectError

# PS3.3 C.7.1.1, C.7.2.1, C.7.3.1.
_ATTRIBUTES = {
    "PatientName": "Patient’s Name (0010,0010)",
    "PatientID": "Patient ID (0010,0020)",
    "StudyDate": "Study Date (0008,0020)",
    "StudyDescription": "Study Description (0008,1030)",
    "SeriesDescription": "Series Description (0008,103E)",
}
_LONGEST_VALUE = 64


def read_patient(path: Path) -> Mapping[str, str]:
    """By the name and tag of each attribute what it says; empty where it is absent.

    Raises `UnreadableObjectError`, which quotes nothing of the object.
    """
    try:
        data_set = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_ATTRIBUTES))
        said = {keyword: str(data_set.get(keyword, "")) for keyword in _ATTRIBUTES}
    except PARSE_ERRORS as error:
        raise UnreadableObjectError(f"its header can't be read: {reason(error)}") from None
    return {_ATTRIBUTES[keyword]: _shown(value) for keyword, value in said.items()}


def _shown(value: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in value)
    return printable.strip()[:_LONGEST_VALUE]
