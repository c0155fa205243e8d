"""The walk over encoded data sets: all of a good one, none of a damaged one."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dicomnode.dicom import encoded
from dicomnode.dicom.encoded import claimed_header, elements, peek
from dicomnode.domain import SizeHints
from dicomnode.errors import UnreadableObjectError

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, JPEG_2000 = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.90"


def data_set(*, undefined: bool = True) -> Dataset:
    made = Dataset()
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.SOPInstanceUID = "1.2.3.4"
    made.Modality = "MR"
    made.StudyInstanceUID = "1.2.3"
    made.SeriesInstanceUID = "1.2.3.9"
    inner = Dataset()
    inner.SeriesInstanceUID = "9.9.9"
    inner.ReferencedSOPSequence = Sequence([Dataset()])
    inner.is_undefined_length_sequence_item = undefined
    made.ReferencedSeriesSequence = Sequence([inner])
    made["ReferencedSeriesSequence"].is_undefined_length = undefined
    made.add_new(0x00091001, "UN", b"private" + b"\0")
    made.Rows, made.Columns, made.BitsAllocated = 4, 4, 16
    made.add_new(0x7FE00010, "OW", bytes(range(32)))
    made.add_new(0xFFFCFFFC, "OB", bytes(20))
    return made


def encode(made: Dataset, syntax: str) -> bytes:
    buffer = BytesIO()
    if syntax == JPEG_2000:
        made["PixelData"].value = encapsulate([b"frame one!", b"frame two"])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    write_dataset(buffer_writer(buffer, syntax), made)
    if syntax != DEFLATED:
        return buffer.getvalue()
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(buffer.getvalue()) + deflater.flush()


def buffer_writer(buffer: BytesIO, syntax: str) -> object:
    from pydicom.filebase import DicomIO

    writer = DicomIO(buffer)
    writer.is_implicit_VR = syntax == IMPLICIT
    writer.is_little_endian = syntax != BIG
    return writer


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG_2000])
def test_the_uids_of_the_data_set_itself_are_found(syntax: str, undefined: bool) -> None:
    header = peek(encode(data_set(undefined=undefined), syntax), syntax).header
    assert header.sop_instance_uid == "1.2.3.4"
    assert header.series_instance_uid == "1.2.3.9"
    assert header.study_instance_uid == "1.2.3"
    assert (header.modality, header.transfer_syntax_uid) == ("MR", syntax)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG_2000])
def test_what_an_object_says_of_the_size_of_its_series_is_found(syntax: str) -> None:
    made = data_set()
    made.AcquisitionNumber, made.ImagesInAcquisition = "3", "176"
    made.ConcatenationUID, made.InConcatenationTotalNumber = "1.2.3.77", 258
    made.NumberOfFrames = "40"
    found = peek(encode(made, syntax), syntax).header.hints
    assert found == SizeHints(3, 176, 40, "1.2.3.77", 258)
    assert peek(encode(data_set(), syntax), syntax).header.hints == SizeHints()


@pytest.mark.parametrize(
    "value", [b"", b"many", b"-3", b"1\\2", b"99999999999", b"2147483648", b"1.5"]
)
def test_a_hint_that_is_no_number_of_images_is_left_out(value: bytes) -> None:
    hint = short(0x0020, 0x1002, b"IS", value)
    total = short(0x0020, 0x9163, b"US", b"abcd")
    made = data_set()
    del made.Rows, made.Columns, made.BitsAllocated, made[0x7FE00010], made[0xFFFCFFFC]
    found = peek(encode(made, EXPLICIT) + hint + total, EXPLICIT).header.hints
    assert found == SizeHints()


def test_the_pixel_digest_is_of_the_pixels_alone() -> None:
    one, other = data_set(), data_set()
    other.PatientID = "somebody"
    third = data_set()
    third.PixelData = bytes(32)
    digests = [peek(encode(each, EXPLICIT), EXPLICIT).pixel_sha256 for each in (one, other, third)]
    assert digests[0] == digests[1] != digests[2]
    bare = data_set()
    del bare.PixelData
    assert peek(encode(bare, EXPLICIT), EXPLICIT).pixel_sha256 == ""


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, JPEG_2000])
def test_the_digest_of_the_data_set_changes_with_any_byte(syntax: str, undefined: bool) -> None:
    whole = encode(data_set(undefined=undefined), syntax)
    seen = {peek(whole, syntax).data_set_sha256}
    readable = 1
    for place in range(len(whole)):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with contextlib.suppress(UnreadableObjectError):
            seen.add(peek(changed, syntax).data_set_sha256)
            readable += 1
    assert len(seen) == readable > 1


def test_the_digest_of_the_data_set_can_be_made_without_us() -> None:
    made = data_set()
    whole = encode(made, EXPLICIT)
    pixels, digest = bytes(made.PixelData), hashlib.sha256(bytes(made.PixelData)).hexdigest()
    around = whole.replace(pixels, digest.encode())
    assert peek(whole, EXPLICIT).data_set_sha256 == hashlib.sha256(around).hexdigest()


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG_2000])
def test_cut_anywhere_it_is_refused_or_ends_between_elements(syntax: str, undefined: bool) -> None:
    whole = encode(data_set(undefined=undefined), syntax)
    clean = _boundaries(whole, syntax)
    for length in range(len(whole)):
        if length in clean:
            continue
        with pytest.raises(UnreadableObjectError):
            peek(whole[:length], syntax)


def _boundaries(data: bytes, syntax: str) -> set[int]:
    """Lengths at which a cut can't be told from a shorter data set that has all UIDs."""
    if syntax == DEFLATED:
        return set()
    ends = {element.start + element.length for element in elements(data, syntax)}
    # A value of undefined length is followed by its sequence delimitation item.
    ends |= {end + 8 for end in ends if data[end : end + 4] == b"\xfe\xff\xdd\xe0"}
    # A few zeros after the last element are padding.
    return {end + zeros for end in ends for zeros in range(8) if not any(data[end : end + zeros])}


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), syntax=st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED]))
def test_no_bytes_make_it_fail_in_another_way(data: bytes, syntax: str) -> None:
    with pytest.raises(UnreadableObjectError):
        peek(data, syntax)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_survived(data: st.DataObject) -> None:
    whole = bytearray(encode(data_set(), EXPLICIT))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableObjectError):
        peek(bytes(whole), EXPLICIT)


def test_deep_nesting_is_bounded() -> None:
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(UnreadableObjectError, match="nested deeper"):
        peek((sequence + item) * 100_000, EXPLICIT)


def test_a_deflate_bomb_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "LARGEST_INFLATED_BYTES", 1_000_000)
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(50_000_000)) + deflater.flush()
    with pytest.raises(UnreadableObjectError, match="larger than"):
        peek(bomb, DEFLATED)


def test_endless_elements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "MOST_ELEMENTS", 1000)
    with pytest.raises(UnreadableObjectError, match="more than 1000 elements"):
        peek(b"".join(struct.pack("<HH2sH", 9, n, b"LO", 0) for n in range(2000)), EXPLICIT)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_missing_uid_is_named(keyword: str) -> None:
    made = data_set()
    del made[keyword]
    with pytest.raises(UnreadableObjectError, match="has no"):
        peek(encode(made, EXPLICIT), EXPLICIT)


def short(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


@pytest.mark.parametrize("tag", [(0x0020, 0x000D), (0x0020, 0x000E), (0x0008, 0x0018)])
@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_uid_that_stands_there_twice_is_refused(tag: tuple[int, int], at_the_end: bool) -> None:
    again, once = short(*tag, b"UI", b"9.9"), encode(data_set(), EXPLICIT)
    with pytest.raises(UnreadableObjectError, match="out of order or twice"):
        peek(once + again if at_the_end else again + once, EXPLICIT)


@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED])
def test_a_cut_object_still_says_where_it_belongs(syntax: str) -> None:
    made = data_set()
    made.PixelData = bytes(range(256)) * 40
    header = claimed_header(encode(made, syntax)[:-20], syntax)
    assert (header.study_instance_uid, header.series_instance_uid) == ("1.2.3", "1.2.3.9")
    assert claimed_header(b"junk" * 99, syntax).study_instance_uid == ""


def test_a_modality_that_is_no_code_string_is_not_kept() -> None:
    made = data_set()
    made.Modality = "a patient's name^is here"
    assert peek(encode(made, EXPLICIT), EXPLICIT).header.modality == ""


def test_an_element_without_a_vr_inside_explicit_vr_is_walked_over() -> None:
    stray = struct.pack("<HHL", 0x0008, 0x0001, 4) + b"\x01\x02\x03\x04"
    assert peek(stray + encode(data_set(), EXPLICIT), EXPLICIT).header.sop_instance_uid == "1.2.3.4"


def _real_files() -> Iterator[Path]:
    from pydicom.data import get_testdata_file

    for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "image_dfl.dcm"):
        yield Path(str(get_testdata_file(name, download=False)))
    for name in ("MR_small_bigendian.dcm", "JPEG2000.dcm", "693_J2KR.dcm", "rtplan.dcm"):
        found = get_testdata_file(name, download=False)
        if found is not None:
            yield Path(str(found))


@pytest.mark.parametrize("path", list(_real_files()), ids=lambda path: path.name)
def test_it_reads_what_pydicom_reads(path: Path) -> None:
    from dicomnode.dicom.file_format import read_received

    expected = dcmread(path)
    found = read_received("x", path).header
    assert found.sop_instance_uid == expected.SOPInstanceUID
    assert found.series_instance_uid == expected.SeriesInstanceUID
    assert found.modality == expected.Modality
