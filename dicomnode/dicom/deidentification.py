"""De-identification of headers: the Basic Profile of PS3.15 Annex E, Table E.1-1, and options.

The table is that of the package dicom-anonymizer, which is made from the Standard; its own way of
applying it stops at the first level, so here every item of every sequence is gone through.
Private attributes are removed. Pixel data are another matter: see `dicomnode.defacing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.config import disable_value_validation
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.config_defacing import DeidentificationSettings
from dicomnode.dicom.derived import Code
from dicomnode.dicom.method_codes import add_method
from dicomnode.dicom.pseudonyms import Pseudonyms, read_key, shifted_date, shifted_date_time
from dicomnode.errors import ConfigurationError

TABLE = "dicomfields_2026c"
BASIC_PROFILE = Code("113100", "DCM", "Basic Application Confidentiality Profile")
MODIFIED_DATES = Code(
    "113107", "DCM", "Retain Longitudinal Temporal Information Modified Dates Option"
)
PATIENT_CHARACTERISTICS = Code("113108", "DCM", "Retain Patient Characteristics Option")
DEVICE_IDENTITY = Code("113109", "DCM", "Retain Device Identity Option")
DUMMY_TEXT = "REMOVED"


class Action(Enum):
    """What Table E.1-1 asks for; of a choice between several the one that every IOD bears."""

    DUMMY = "D"
    EMPTY = "Z"
    REMOVE = "X"
    UID = "U"
    KEEP = "K"


_ACTIONS = {
    "D_TAGS": Action.DUMMY,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.REMOVE,
    "U_TAGS": Action.UID,
    "Z_D_TAGS": Action.DUMMY,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    # References are kept, and the UIDs in them replaced.
    "X_Z_U_STAR_TAGS": Action.KEEP,
}
# Table E.1-1, columns "Rtn. Pat. Chars." and "Rtn. Dev. Id.": what the options keep.
_CHARACTERISTICS = (
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientBodyMassIndex",
    "EthnicGroup",
    "SmokingStatus",
    "PregnancyStatus",
    "PatientSexNeutered",
)
_DEVICE = (
    "DeviceSerialNumber",
    "StationName",
    "DetectorID",
    "DeviceUID",
    "GantryID",
    "PlateID",
    "GeneratorID",
    "DateOfLastDetectorCalibration",
    "TimeOfLastDetectorCalibration",
)
_OF_BIRTH = ("PatientBirthDate", "PatientBirthTime", "PatientBirthDateInAlternativeCalendar")
_TIMES = ("DA", "DT", "TM")


@dataclass(frozen=True)
class Deidentifier:
    """Makes headers of one project anonymous; the same person and UIDs become the same again."""

    pseudonyms: Pseudonyms
    settings: DeidentificationSettings

    @property
    def identity(self) -> str:
        """A part of UIDs of results: who has no key can't tell of which object they are."""
        return self.pseudonyms.uid(self.settings.method)

    @disable_value_validation()
    def apply(self, ds: Dataset) -> None:
        """Change `ds` in place, and say in it what was done (PS3.3 C.7.1.1, PS3.15 E.1.1)."""
        patient = _person(ds)
        walk = _Walk(self.pseudonyms, self.settings, self.pseudonyms.shift_days(patient))
        walk.through(ds)
        pseudonym = self.pseudonyms.person(patient)
        ds.PatientID = ds.PatientName = pseudonym
        ds.PatientIdentityRemoved = "YES"
        keeps_dates = self.settings.dates == "shift"
        ds.LongitudinalTemporalInformationModified = "MODIFIED" if keeps_dates else "REMOVED"
        said = {
            BASIC_PROFILE: True,
            MODIFIED_DATES: keeps_dates,
            PATIENT_CHARACTERISTICS: self.settings.retain_patient_characteristics,
            DEVICE_IDENTITY: self.settings.retain_device_identity,
        }
        for code in (code for code, is_true in said.items() if is_true):
            add_method(ds, f"dicomnode {__version__}: PS3.15 Annex E", code)


def deidentifier_of(settings: Settings, project: str) -> Deidentifier:
    """Raises `ConfigurationError` where there is no such project, or its key can't be read."""
    section, own = settings.deidentification_of(project)
    if own.key_file is None:
        raise ConfigurationError(f"{section}.key_file: needed to de-identify headers")
    return Deidentifier(read_key(own.key_file, f"{section}.key_file"), own)


@dataclass(frozen=True)
class _Walk:
    pseudonyms: Pseudonyms
    settings: DeidentificationSettings
    shift_days: int

    def through(self, ds: Dataset) -> None:
        ds.remove_private_tags()
        for element in list(ds):
            action = self._action(element)
            if action is Action.REMOVE:
                del ds[element.tag]
            elif action is Action.EMPTY:
                element.clear()
            elif element.VR == "SQ":
                self._sequence(ds, element, action)
            elif element.VR in ("DA", "DT") and self.settings.dates == "shift":
                _each(element, self._shifted(element.VR))
            elif action is Action.UID:
                _each(element, self.pseudonyms.uid)
            elif action is Action.DUMMY:
                element.value = _dummy(element)

    def _sequence(self, ds: Dataset, element: DataElement, action: Action) -> None:
        """No dummy stands for a sequence: it goes, and is none that an image must have."""
        if action is Action.DUMMY:
            del ds[element.tag]
            return
        for item in element.value or ():
            self.through(item)

    def _action(self, element: DataElement) -> Action:
        if element.keyword in self._retained:
            return Action.KEEP
        asked = _action_of(element.tag.group, element.tag.element)
        if element.keyword in _OF_BIRTH:
            return asked  # shifted with the others it would tell the age in days
        if element.VR in _TIMES and asked is not Action.KEEP and self.settings.dates == "shift":
            return Action.KEEP  # days are shifted, times of day stay
        return asked

    @property
    def _retained(self) -> tuple[str, ...]:
        characteristics = _CHARACTERISTICS if self.settings.retain_patient_characteristics else ()
        return (*characteristics, *(_DEVICE if self.settings.retain_device_identity else ()))

    def _shifted(self, vr: str) -> Callable[[str], str]:
        shift = shifted_date if vr == "DA" else shifted_date_time
        return lambda given: shift(given, self.shift_days)


def _person(ds: Dataset) -> str:
    """Who it is: the Patient ID with its issuer; where there is none, the study stands for them."""
    known = str(ds.get("PatientID") or "").strip()
    issuer = str(ds.get("IssuerOfPatientID") or "").strip()
    return f"{issuer}\n{known}" if known else f"study\n{ds.get('StudyInstanceUID')}"


@cache
def _table() -> tuple[Mapping[tuple[int, int], Action], tuple[tuple[int, ...], ...]]:
    """Actions by tag, and the repeating groups (group, element, masks) that are removed."""
    every = dicom_anonymization_database_selector(TABLE)
    single: dict[tuple[int, int], Action] = {}
    repeating = []
    for name, action in _ACTIONS.items():
        for tag in every[name]:
            if len(tag) == 2:
                single[tag] = action
            else:
                repeating.append(tag)
    return single, tuple(repeating)


def _action_of(group: int, element: int) -> Action:
    single, repeating = _table()
    for tag_group, tag_element, group_mask, element_mask in repeating:
        same_group = group & group_mask == tag_group & group_mask
        if same_group and element & element_mask == tag_element & element_mask:
            return Action.REMOVE
    return single.get((group, element), Action.KEEP)


def _each(element: DataElement, change: Callable[[str], str]) -> None:
    if element.is_empty:
        return
    value = element.value
    several = isinstance(value, MultiValue)
    element.value = [change(str(one)) for one in value] if several else change(str(value))


def _dummy(element: DataElement) -> object:
    """A value of its VR that says nothing (PS3.15 E.1.1, note 4)."""
    vr = element.VR
    if vr in ("DA", "TM", "DT", "AS"):
        return {"DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y"}[vr]
    if vr in ("DS", "IS", "FD", "FL", "SS", "US", "SL", "UL", "SV", "UV"):
        return 0
    if vr in ("OB", "OW", "UN", "OF", "OD", "OL", "OV"):
        return b"\0\0"
    return "http://removed.invalid" if vr == "UR" else DUMMY_TEXT
