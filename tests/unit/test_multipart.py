"""multipart/related, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.errors import UnreadableObjectError
from dicomnode.intake.multipart import MultipartReader, Part, media_type

TYPE = 'multipart/related; type="application/dicom"; boundary="edge"'
CONTENTS = (b"DICM\r\n--edg\r\n", b"", b"\r\n--edge x"[:6] + bytes(range(256)))


HEADER = b"Content-Type: application/dicom; transfer-syntax=1.2"


def body(*contents: bytes) -> bytes:
    parts = (b"--edge\r\n" + HEADER + b"\r\n\r\n" + content + b"\r\n" for content in contents)
    return b"".join(parts) + b"--edge--"


def read(data: bytes, length: int, maximum: int = 10_000) -> list[Part]:
    reader = MultipartReader(TYPE, maximum)
    pieces = (data[start : start + length] for start in range(0, len(data), length))
    parts = [part for piece in pieces for part in reader.feed(piece)]
    reader.finish()
    return parts


@given(length=st.integers(1, 400))
def test_the_parts_are_the_same_however_the_body_is_cut(length: int) -> None:
    parts = read(body(*CONTENTS), length)
    assert tuple(part.content for part in parts) == CONTENTS
    assert {part.media_type for part in parts} == {"application/dicom"}


def test_the_boundary_may_stand_without_quotes() -> None:
    reader = MultipartReader("Multipart/Related; boundary=edge", 100)
    assert [part.content for part in reader.feed(body(b"a"))] == [b"a"]


def test_a_body_that_is_cut_off_is_said_to_be_so() -> None:
    with pytest.raises(UnreadableObjectError, match="closing boundary"):
        read(body(b"abc")[:-8], 7)


def test_a_part_that_is_too_long_is_refused_before_it_is_whole() -> None:
    reader = MultipartReader(TYPE, 10)
    with pytest.raises(UnreadableObjectError, match="maximum_object_bytes"):
        reader.feed(body(b"0123456789 and more")[:-12])


@pytest.mark.parametrize("content_type", ["application/dicom+json", "multipart/related", ""])
def test_another_kind_of_body_is_refused(content_type: str) -> None:
    with pytest.raises(UnreadableObjectError, match="multipart"):
        MultipartReader(content_type, 10)


def test_bytes_that_are_no_multipart_are_refused() -> None:
    with pytest.raises(UnreadableObjectError, match="rules"):
        MultipartReader(TYPE, 10).feed(b"<html>")


def test_a_media_type_is_read_without_its_parameters() -> None:
    assert media_type("Application/DICOM; transfer-syntax=*") == "application/dicom"
