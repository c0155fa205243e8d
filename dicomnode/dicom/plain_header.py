"""Headers of plain files, read in one go: what a scanner's series of hundreds consists of.

pydicom takes most of a millisecond for a header, and as long again to convert values that all
slices of a series share. Here a file's head is walked once (`encoded`), its elements become
pydicom's as pydicom would make them, and a value that was converted is used for all slices that
have the same bytes. Whatever is not plain is left to pydicom: other encodings, elements out of
order or of undefined length, heads that are long.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicomnode.dicom.encoded import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    elements_before_pixels,
)
from dicomnode.dicom.file_format import data_set_offset, meta_values
from dicomnode.dicom.header import PARSE_ERRORS

HEAD_BYTES = 1 << 16
# The pixels of a slice will be wanted soon: the disk brings them while headers are looked at.
SLICE_BYTES = 1 << 20
_PIXEL_DATA = 0x7FE00010
_SPECIFIC_CHARACTER_SET = 0x00080005
_TRANSFER_SYNTAX = 0x00020010
# Their values depend on the element alone (and on the character set): they may be shared.
_SHARED_VRS = frozenset({"CS", "DA", "DS", "IS", "LO", "SH", "TM", "UI", "FD", "FL"})
_PLAIN_VRS = _SHARED_VRS | {"AE", "AS", "AT", "DT", "LT", "PN", "SL", "SS", "ST", "UL", "US", "SQ"}


@dataclass(frozen=True)
class PlainHeader:
    """`pixels_at` and `pixels_length`: of the value of Pixel Data, as its element announces it."""

    ds: Dataset
    transfer_syntax: UID
    pixels_at: int
    pixels_length: int


@dataclass
class PlainHeaders:
    """Reads headers of one series; `wanted` are the only elements that are kept."""

    wanted: Collection[BaseTag]
    _tags: dict[int, BaseTag] = field(init=False)
    _seen: dict[tuple[int, str, bytes, bytes], DataElement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tags = {int(tag): tag for tag in self.wanted}

    def read(self, path: Path) -> PlainHeader | None:
        """None: not plain, or not readable; pydicom has to say. Raises `OSError`."""
        with path.open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, SLICE_BYTES, os.POSIX_FADV_WILLNEED)
            head = stream.read(HEAD_BYTES)
        try:
            return self._parsed(head)
        except PARSE_ERRORS:
            return None

    def _parsed(self, head: bytes) -> PlainHeader | None:
        begin = data_set_offset(head)
        syntax = UID(meta_values(head, begin).get(_TRANSFER_SYNTAX, ""))
        implicit = syntax == IMPLICIT_VR_LITTLE_ENDIAN
        is_usual = implicit or syntax == EXPLICIT_VR_LITTLE_ENDIAN or syntax.is_encapsulated
        looks_explicit = head[begin + 4 : begin + 6].isalpha()
        if not is_usual or syntax == EXPLICIT_VR_BIG_ENDIAN or looks_explicit is implicit:
            return None
        raw: dict[BaseTag, RawDataElement] = {}
        last = -1
        for element in elements_before_pixels(head, begin, implicit=implicit):
            if element.tag <= last:
                return None
            last = element.tag
            if last == _PIXEL_DATA:
                ds = self._data_set(raw, implicit)
                return PlainHeader(ds, syntax, element.start, element.length)
            if (tag := self._tags.get(last)) is None:
                continue
            if not element.vr or not (implicit or element.vr in _PLAIN_VRS):
                return None
            value = head[element.start : element.start + element.length]
            vr = None if implicit else element.vr
            raw[tag] = RawDataElement(tag, vr, element.length, value, element.start, implicit, True)
        return None

    def _data_set(self, raw: dict[BaseTag, RawDataElement], implicit: bool) -> Dataset:
        charset = raw.get(self._tags[_SPECIFIC_CHARACTER_SET])
        words = b"" if charset is None else charset.value or b""
        encodings = convert_encodings(
            None if charset is None else convert_raw_data_element(charset).value
        )
        shared = {tag: self._shared(item, words, encodings) for tag, item in raw.items()}
        ds = Dataset(shared)
        ds.set_original_encoding(implicit, True, encodings)
        return ds

    def _shared(
        self, raw: RawDataElement, charset: bytes, encodings: list[str]
    ) -> DataElement | RawDataElement:
        """The element that another slice had, where it is the same; it must not be changed."""
        if raw.tag.is_private:
            return raw
        vr = raw.VR or dictionary_VR(raw.tag)
        if vr not in _SHARED_VRS:
            return raw
        key = (int(raw.tag), vr, raw.value or b"", charset)
        if key not in self._seen:
            try:
                self._seen[key] = convert_raw_data_element(raw, encoding=encodings)
            except PARSE_ERRORS:  # whoever asks for the value gets to know
                return raw
        return self._seen[key]
