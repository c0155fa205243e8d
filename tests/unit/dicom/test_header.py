import struct
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicomnode.dicom import header
from dicomnode.dicom.header import (
    code_strings,
    number,
    numbers,
    read_acquisition,
    read_claims,
    read_data_set,
    reason,
    text,
    texts,
)
from dicomnode.dicom.series import sort_series
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


def test_what_a_policy_may_ask_is_read_over_all_images() -> None:
    plain = _claim(ImageType=["ORIGINAL", "PRIMARY"], ScanningSequence="GR")
    planar = _claim(ImageType=["DERIVED", "mpr"], ScanningSequence=["EP", "SE"])
    acquired = read_acquisition([plain, planar], 4.99999)
    assert acquired.slice_spacing_mm == 5.0
    assert acquired.image_types == ("DERIVED", "MPR", "ORIGINAL", "PRIMARY")
    assert acquired.scanning_sequences == ("EP", "GR", "SE")


def test_all_that_policies_ask_is_read_from_the_files(tmp_path: Path) -> None:
    said = {
        "ScanningSequence": "EP",
        "BurnedInAnnotation": "YES",
        "RecognizableVisualFeatures": "NO",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "tool",
        "DeidentificationMethodCodeSequence": [
            _claim(CodeValue="113102", CodingSchemeDesignator="DCM")
        ],
    }
    for path in make_series(tmp_path, slices=8):
        ds = dcmread(path)
        for keyword, value in said.items():
            setattr(ds, keyword, value)
        ds.save_as(path)
    (stack,) = sort_series(sorted(tmp_path.rglob("*.dcm"))).stacks
    acquired, claims = read_acquisition(stack.datasets, 4.0), read_claims(stack.datasets)
    assert acquired.scanning_sequences == ("EP",)
    assert acquired.image_types is not None
    assert claims.burned_in_annotation == claims.patient_identity_removed == "YES"
    assert claims.recognizable_visual_features == "NO"
    assert claims.deidentification_method == ("tool",)
    assert claims.deidentification_codes == ("113102/DCM",)


def test_what_one_image_says_is_said_of_all_and_a_header_without_it_says_nothing() -> None:
    acquired = read_acquisition([_claim(ImageType=["ORIGINAL"]), _claim()], 1.0)
    assert acquired.image_types == ("ORIGINAL",)
    assert acquired.scanning_sequences == ()


@pytest.mark.parametrize(("said", "known"), [("YES", ("EP",)), ("NO", ("NOT EP",)), ("", ())])
def test_enhanced_mr_says_whether_it_is_echo_planar(said: str, known: tuple[str, ...]) -> None:
    acquired = read_acquisition([_claim(EchoPlanarPulseSequence=said)], 1.0)
    assert acquired.scanning_sequences == known


def test_an_image_type_that_is_no_code_string_is_not_kept() -> None:
    named = _claim(ImageType=["ORIGINAL", "Doe^Jane", "MÜLLER"])
    assert read_acquisition([named], 1.0).image_types == ("ORIGINAL",)


def test_burned_in_text_counts_as_soon_as_one_image_has_it() -> None:
    clean, burned = _claim(BurnedInAnnotation="NO"), _claim(BurnedInAnnotation="YES")
    assert read_claims([clean, clean]).burned_in_annotation == "NO"
    assert read_claims([clean, burned, _claim()]).burned_in_annotation == "YES"
    assert read_claims([clean, _claim()]).burned_in_annotation is None


def test_method_codes_are_collected_with_their_scheme() -> None:
    code = _claim(CodeValue="113102", CodingSchemeDesignator="DCM")
    claims = read_claims(
        [_claim(DeidentificationMethodCodeSequence=[code], DeidentificationMethod="tool 1")]
    )
    assert claims.deidentification_codes == ("113102/DCM",)
    assert claims.deidentification_method == ("tool 1",)


def _raw(keyword: str, given: str) -> Dataset:
    """As it is read from a file: the value is parsed when it is asked for."""
    value = given.encode() + b" " * (len(given) % 2)
    stream = BytesIO(struct.pack("<HHL", *divmod(Tag(keyword), 1 << 16), len(value)) + value)
    ds = dcmread(stream, force=True)
    assert keyword in ds
    return ds


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("1\\2\\3", (1.0, 2.0, 3.0)),
        ("1\\2\\3\\", (1.0, 2.0, 3.0)),
        ("1\\2\\3\\ \\ ", (1.0, 2.0, 3.0)),
        ("0,5\\-1,25\\3", (0.5, -1.25, 3.0)),
        (" 1 \\ 2 \\+3e0", (1.0, 2.0, 3.0)),
        ("1\\2\\", None),
        ("1\\2", None),
        ("1\\2\\3\\4", None),
        ("1\\2\\x", None),
        ("1\\2\\nan", None),
        ("1\\\\3", None),
        ("", None),
        ("\\\\", None),
    ],
)
def test_numbers_are_read_as_scanners_meant_them(
    given: str, found: tuple[float, ...] | None
) -> None:
    assert numbers(_raw("ImagePositionPatient", given), "ImagePositionPatient", 3) == found


@pytest.mark.parametrize(("given", "found"), [("0,5", 0.5), ("2\\", 2.0), ("1\\2", None)])
def test_a_number_is_read_as_scanners_meant_it(given: str, found: float | None) -> None:
    assert number(_raw("RescaleSlope", given), "RescaleSlope") == found


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AttributeError("Doe^Jane"), "it is damaged (AttributeError)"),
        (EOFError(), "it ends too early"),
        (UnreadableObjectError("it is empty"), "it is empty"),
    ],
)
def test_a_reason_is_a_sentence_and_quotes_nobody(error: Exception, sentence: str) -> None:
    assert reason(error) == sentence


def test_only_code_strings_are_told() -> None:
    ds = Dataset()
    ds.ImageType = ["LOCALIZER", "Screen Save", "DOE^JANE", "\x1b[2J", "A" * 17]
    told = "LOCALIZER\\Screen Save\\(invalid)\\(invalid)\\(invalid)"
    assert code_strings(ds, "ImageType") == told
    assert code_strings(ds, "Modality") == "(absent)"
