"""PS3.15 Annex E on headers with everything in them, at every depth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicomnode.config_defacing import DeidentificationSettings
from dicomnode.dicom.deidentification import Deidentifier
from dicomnode.dicom.pseudonyms import Pseudonyms, shifted_date, shifted_date_time

KEY = Pseudonyms(b"k" * 32)


def image(**more: object) -> Dataset:
    ds = Dataset()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", "4711", "19700102"
    ds.PatientSex, ds.PatientAge = "F", "056Y"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.2.3", "1.2.3.4", "1.2.3.4.5"
    ds.FrameOfReferenceUID = "1.2.3.9"
    ds.StudyDate, ds.SeriesDate, ds.StudyTime = "20240315", "20240315", "101112"
    ds.AcquisitionDateTime = "20240315101112.5+0100"
    ds.InstitutionName, ds.ReferringPhysicianName = "Charité", "Dr^House"
    ds.StationName, ds.DeviceSerialNumber = "CT01", "SN-1"
    ds.StudyDescription, ds.ImageComments = "Jane's head", "call Jane"
    ds.SOPClassUID, ds.Modality, ds.Rows = "1.2.840.10008.5.1.4.1.1.4", "MR", 4
    ds.PixelSpacing = [1, 1]
    inner = Dataset()
    inner.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    inner.ReferencedSOPInstanceUID = "1.2.3.4.5"
    inner.PatientName = "Doe^Jane"
    inner.add_new((0x0009, 0x0010), "LO", "ACME")
    inner.add_new((0x0009, 0x1001), "LO", "Jane")
    ds.SourceImageSequence = Items([inner])
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def anonymous(ds: Dataset, key: Pseudonyms = KEY, **options: object) -> Dataset:
    Deidentifier(key, DeidentificationSettings.model_validate(options)).apply(ds)
    return ds


def words(ds: Dataset) -> str:
    return str(ds) + "".join(str(item) for item in ds.get("SourceImageSequence") or ())


@pytest.mark.parametrize("secret", ["Jane", "Doe", "4711", "House", "Charité", "SN-1", "CT01"])
def test_nothing_that_names_a_person_or_a_place_stays(secret: str) -> None:
    assert secret in words(image())
    assert secret not in words(anonymous(image()))


@pytest.mark.parametrize("dates", ["shift", "remove"])
def test_the_day_of_birth_stays_in_no_form(dates: str) -> None:
    """Shifted as the others it would tell the age in days."""
    ds = anonymous(image(PatientBirthTime="070809"), dates=dates)
    assert not ds.get("PatientBirthDate")
    assert "PatientBirthTime" not in ds


def test_private_attributes_go_at_every_depth() -> None:
    ds = anonymous(image())
    assert not any(e.tag.is_private for e in ds.iterall())


def test_what_an_image_needs_stays() -> None:
    ds = anonymous(image())
    assert (ds.SOPClassUID, ds.Modality, ds.Rows) == ("1.2.840.10008.5.1.4.1.1.4", "MR", 4)
    assert ds.SourceImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.4"


def test_uids_become_others_and_references_still_lead_to_their_images() -> None:
    ds = anonymous(image())
    assert ds.SOPInstanceUID != "1.2.3.4.5"
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert ds.SOPInstanceUID.startswith("2.25.")
    assert len(ds.SOPInstanceUID) <= 64


def test_the_same_person_is_the_same_again_and_another_project_has_another_name() -> None:
    one, two = anonymous(image()), anonymous(image(StudyInstanceUID="1.9"))
    assert one.PatientID == two.PatientID
    assert one.PatientID != anonymous(image(), Pseudonyms(b"x" * 32)).PatientID


def test_dates_of_a_person_are_shifted_alike_so_intervals_stay() -> None:
    first, later = anonymous(image()), anonymous(image(StudyDate="20240325"))
    assert first.StudyDate != "20240315"
    days = shifted_date("20240325", KEY.shift_days("\n4711"))
    assert later.StudyDate == days
    assert first.AcquisitionDateTime[8:] == "101112.5+0100"
    assert first.LongitudinalTemporalInformationModified == "MODIFIED"


def test_dates_can_be_removed_instead() -> None:
    ds = anonymous(image(), dates="remove")
    assert "2024" not in words(ds)
    assert ds.LongitudinalTemporalInformationModified == "REMOVED"


def test_patient_characteristics_stay_only_where_the_project_says_so() -> None:
    assert not anonymous(image()).PatientSex
    kept = anonymous(image(), retain_patient_characteristics=True)
    assert (kept.PatientSex, kept.PatientAge) == ("F", "056Y")
    codes = [item.CodeValue for item in kept.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert kept.PatientIdentityRemoved == "YES"


def test_device_identity_stays_only_where_the_project_says_so() -> None:
    assert anonymous(image(), retain_device_identity=True).StationName == "CT01"


def test_overlays_and_curves_go() -> None:
    ds = image()
    ds.add_new((0x6002, 0x3000), "OW", b"\1\2")
    ds.add_new((0x5000, 0x3000), "OW", b"\1\2")
    anonymous(ds)
    assert (0x6002, 0x3000) not in ds
    assert (0x5000, 0x3000) not in ds


def test_invalid_values_of_real_scanners_do_not_stop_it() -> None:
    ds = image(PatientBirthDate="***", StudyDate="***", PatientAge="***")
    assert "***" not in words(anonymous(ds))


def test_who_has_no_patient_id_is_told_apart_by_the_study() -> None:
    one, two = (anonymous(image(PatientID="", StudyInstanceUID=uid)) for uid in ("1.2", "1.3"))
    assert one.PatientID != two.PatientID


@given(st.dates(), st.integers(min_value=1, max_value=3650))
def test_a_shifted_date_is_a_date_or_nothing(day: object, days: int) -> None:
    found = shifted_date(str(day).replace("-", ""), days)
    assert found == "" or (len(found) == 8 and found.isdigit())


@pytest.mark.parametrize("given_", ["", "2024", "20241340", "20240315xx", "nonsense", "***"])
def test_what_is_no_date_time_becomes_nothing(given_: str) -> None:
    assert shifted_date_time(given_, 10) == ""


def test_a_key_is_never_shown() -> None:
    assert "kkk" not in repr(KEY)
