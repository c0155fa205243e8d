"""Clean copies of source headers for highdicom: small, complete, with valid values.

Scanners and archives leave out type 2 attributes, and write `***` where a date should be;
highdicom stops at both. What is copied into the SEG is therefore made here, element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, TM, PersonName

from dicomnode.dicom.header import PARSE_ERRORS, number, read_data_set, text, value
from dicomnode.dicom.references import stand_in_class, stand_in_uid
from dicomnode.dicom.series import SourceStack
from dicomnode.dicom.uids import result_uid

# Type 2 in the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): present, maybe empty.
_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
# Copied where present and valid, so that a PACS files the SEG with its study.
_COPIED = (
    "StudyDescription",
    "IssuerOfPatientID",
    "PatientBirthTime",
    "EthnicGroup",
    "OtherPatientIDs",
    "PatientComments",
    "AdditionalPatientHistory",
    "Occupation",
    "PregnancyStatus",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
)


def _is_date(given: str) -> bool:
    return DA(given) is not None and len(given) == 8


def _is_time(given: str) -> bool:
    return TM(given) is not None


def _is_age(given: str) -> bool:
    return len(given) == 4 and given[:3].isdigit() and given[3] in "DWMY"


_VALID: dict[str, Callable[[str], bool]] = {
    "PatientBirthDate": _is_date,
    "StudyDate": _is_date,
    "StudyTime": _is_time,
    "PatientSex": lambda given: given in ("M", "F", "O"),
    "PatientAge": _is_age,
    "PatientName": lambda given: given.strip("*^= ") != "",
    "ReferringPhysicianName": lambda given: given.strip("*^= ") != "",
    "PatientID": lambda given: len(given) <= 64,
    "AccessionNumber": lambda given: len(given) <= 16,
    "StudyID": lambda given: len(given) <= 16,
}


def valid_date_and_time(source: SourceStack) -> tuple[str, str]:
    """The date and time of the series for the SEG's content: the same on every run.

    The day on which the node happened to examine a series isn't in the SEG, or writing it
    again would make other bytes under the same UID.
    """
    for level in ("Series", "Acquisition", "Study"):
        for ds in source.datasets[:1]:
            date, time = text(ds, f"{level}Date"), text(ds, f"{level}Time")
            if date and _passes(_is_date, date):
                return date, time if time and _passes(_is_time, time) else "000000"
    return "19700101", "000000"


@dataclass(frozen=True)
class CleanSourceImages:
    """`images` have no names in them; `repairs` are sentences on what was filled or dropped."""

    images: list[Dataset]
    patient_name: str
    referring_physician: str
    repairs: tuple[str, ...]


def clean_source_images(source: SourceStack) -> CleanSourceImages:
    """One small data set per slice, in the order of the slices.

    A missing Frame of Reference UID is filled in, for highdicom only; the SEG loses it again.
    """
    shared, repairs = _patient_and_study(source.paths[0])
    patient, physician = str(shared.PatientName), str(shared.ReferringPhysicianName)
    shared.PatientName = shared.ReferringPhysicianName = ""
    shared.StudyInstanceUID = source.study_instance_uid
    shared.SeriesInstanceUID = source.series_instance_uid
    shared.Modality = source.modality
    frame_of_reference = source.frame_of_reference_uid or stand_in_frame_of_reference(source)
    shared.FrameOfReferenceUID = frame_of_reference
    shared.PositionReferenceIndicator = ""
    _set_plane(shared, source)
    images = []
    for item in source.images:
        image = Dataset()
        image.update(shared)
        image.SOPClassUID, image.SOPInstanceUID = stand_in_class(item), stand_in_uid(item)
        image.ImagePositionPatient = item.ds.ImagePositionPatient
        images.append(image)
    return CleanSourceImages(images, patient, physician, tuple(repairs))


def stand_in_frame_of_reference(source: SourceStack) -> str:
    return result_uid(source.series_instance_uid, "frame of reference")


def slice_thickness_mm(source: SourceStack) -> float:
    """As the scanner says, else the usual distance of two slices."""
    stated = number(source.datasets[0], "SliceThickness")
    return stated or round(source.geometry.slice_spacing_mm, 6)


def _set_plane(image: Dataset, source: SourceStack) -> None:
    """As delivered, not recomputed: viewers compare these to many digits. Those of the first
    slice for all: slices may differ in the last digits, which highdicom takes for another plane.
    """
    image.Rows, image.Columns = source.geometry.rows, source.geometry.columns
    image.ImageOrientationPatient = source.datasets[0].ImageOrientationPatient
    image.PixelSpacing = source.datasets[0].PixelSpacing
    image.SliceThickness = slice_thickness_mm(source)


def _patient_and_study(path: Path) -> tuple[Dataset, list[str]]:
    ds = read_data_set(path)
    shared, repaired = Dataset(), []
    shared.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*_TYPE_2, *_COPIED):
        if (found := value(ds, keyword)) is not None:
            if _is_valid(keyword, str(found)):
                setattr(shared, keyword, _decoded(found))
                continue
            repaired.append(f"{keyword} has an invalid value and is empty in the SEG")
        elif keyword in _TYPE_2 and keyword not in ds:
            repaired.append(f"{keyword} is absent and is empty in the SEG")
        if keyword in _TYPE_2:
            setattr(shared, keyword, "")
    return shared, repaired


def _decoded(found: object) -> object:
    """Text in Unicode, whatever character set it came in: the SEG is written in UTF-8."""
    if isinstance(found, MultiValue):
        return list(map(_decoded, found))
    return str(found) if isinstance(found, (str, PersonName)) else found


def _is_valid(keyword: str, given: str) -> bool:
    return keyword not in _VALID or _passes(_VALID[keyword], given)


def _passes(test: Callable[[str], bool], given: str) -> bool:
    try:
        return test(given)
    except PARSE_ERRORS:
        return False
