from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicomnode.dicom import header
from dicomnode.dicom.header import number, numbers, read_claims, read_data_set, text, texts
from dicomnode.errors import UnreadableObjectError
from tests.factories import make_series


def test_a_deflated_object_that_grows_too_much_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_series(
        tmp_path,
        slices=1,
        rows=512,
        columns=512,
        noise=0,
        transfer_syntax=DeflatedExplicitVRLittleEndian,
    )[0]
    assert read_data_set(path).Modality == "MR"
    monkeypatch.setattr(header, "MAXIMUM_INFLATED_BYTES", 100_000)
    with pytest.raises(UnreadableObjectError, match="deflated"):
        read_data_set(path)


def test_values_that_cannot_be_parsed_count_as_absent(tmp_path: Path) -> None:
    path = make_series(tmp_path, slices=1)[0]
    broken = path.read_bytes().replace(b"20260102", b"***     ").replace(b"2\\2 ", b"*\\* ")
    path.write_bytes(broken)
    ds = read_data_set(path)
    assert text(ds, "StudyDate") == "***"
    assert numbers(ds, "PixelSpacing", 2) is None
    assert number(ds, "SliceLocation") is None
    assert texts(ds, "ImageType") == ("ORIGINAL", "PRIMARY", "M")


def _claim(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def test_claims_take_the_strictest_reading_of_all_instances() -> None:
    clean = _claim(PatientIdentityRemoved="YES", RecognizableVisualFeatures="NO")
    silent = _claim()
    face = _claim(RecognizableVisualFeatures="YES", PatientIdentityRemoved="NO")
    assert read_claims([clean, clean]).recognizable_visual_features == "NO"
    assert read_claims([clean, silent]).recognizable_visual_features is None
    assert read_claims([clean, silent]).patient_identity_removed is None
    assert read_claims([clean, face]).recognizable_visual_features == "YES"
    assert read_claims([clean, face]).patient_identity_removed == "NO"


def test_method_codes_are_collected_with_their_scheme() -> None:
    code = _claim(CodeValue="113102", CodingSchemeDesignator="DCM")
    claims = read_claims(
        [_claim(DeidentificationMethodCodeSequence=[code], DeidentificationMethod="tool 1")]
    )
    assert claims.deidentification_codes == ("113102/DCM",)
    assert claims.deidentification_method == ("tool 1",)
