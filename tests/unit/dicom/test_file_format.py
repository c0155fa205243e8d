"""File meta information: readable by others, and by the rebuild."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from dicomnode.dicom.file_format import (
    data_set_offset,
    encode_file_meta,
    read_received,
)
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID
from dicomnode.errors import UnreadableObjectError
from tests.factories import make_series


def encode(**changes: str) -> bytes:
    values = {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4",
        "sop_instance_uid": "1.2.3",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "calling_ae_title": "SCANNER",
        "called_ae_title": "DICOMNODE",
        "peer_address": "192.0.2.7",
    }
    return encode_file_meta(**(values | changes))


def test_pydicom_reads_the_file_meta(tmp_path: Path) -> None:
    path = tmp_path / "meta.dcm"
    path.write_bytes(encode())
    meta = read_file_meta_info(path)
    assert meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.SourceApplicationEntityTitle == "SCANNER"
    assert meta.ReceivingApplicationEntityTitle == "DICOMNODE"
    assert meta.FileMetaInformationGroupLength == len(encode()) - 144


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", ""])
def test_what_was_written_is_read_again(tmp_path: Path, peer: str) -> None:
    (source,) = make_series(tmp_path / "made", slices=1)
    whole = source.read_bytes()
    received = tmp_path / "received.dcm"
    received.write_bytes(encode(peer_address=peer) + whole[data_set_offset(whole) :])
    found = read_received("ab/x.dcm", received)
    assert (found.calling_ae_title, found.called_ae_title) == ("SCANNER", "DICOMNODE")
    assert found.peer_address == peer
    assert found.name == "ab/x.dcm"
    assert found.header.sop_instance_uid == dcmread(source).SOPInstanceUID
    assert found.size_bytes == received.stat().st_size


def test_titles_that_are_no_ascii_do_not_break_it() -> None:
    assert dcmread(BytesIO(encode(calling_ae_title="MÜNCHEN")), force=True).file_meta


@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(200), encode()[:150]])
def test_what_has_no_whole_file_meta_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableObjectError):
        data_set_offset(content)


def without_group_length(whole: bytes) -> bytes:
    """(0002,0000) follows preamble and prefix, and has 12 bytes."""
    return whole[:132] + whole[144:]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_a_file_without_a_group_length_is_read(syntax: str, tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, slices=1, transfer_syntax=syntax)
    whole = path.read_bytes()
    bare = without_group_length(whole)
    assert bare[data_set_offset(bare) :] == whole[data_set_offset(whole) :]
    expected = read_received("a", path).header
    path.write_bytes(bare)
    assert read_received("a", path).header == expected


@pytest.mark.parametrize("size", [132, 140, 170, 200])
def test_a_piece_of_a_file_without_a_group_length_is_refused(size: int) -> None:
    with pytest.raises(UnreadableObjectError):
        data_set_offset(without_group_length(encode())[:size])
