"""The parts of a multipart/related body (RFC 2387), one after the other as they come.

DICOMweb sends objects in it, in both directions (PS3.18 8.6.1.2). It is fed with pieces of any
length and gives back whole parts, so no more than one object is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dicomnode.errors import UnreadableObjectError


@dataclass(frozen=True)
class Part:
    """One part: its header fields, by lower case name, and its bytes as they came."""

    headers: Mapping[str, str]
    content: bytes

    @property
    def media_type(self) -> str:
        """The type without its parameters: "application/dicom"."""
        return media_type(self.headers.get("content-type", ""))


def parse_media_type(content_type: str) -> tuple[str, Mapping[str, str]]:
    """The type in lower case, and its parameters."""
    kind, options = parse_options_header(content_type)
    decoded = {name.decode("latin-1"): text.decode("latin-1") for name, text in options.items()}
    return kind.decode("latin-1"), decoded


def media_type(content_type: str) -> str:
    return parse_media_type(content_type)[0]


class PartTooLongError(UnreadableObjectError):
    """A part is longer than an object may be: nothing more of the body is read."""


class MultipartReader:
    """Raises `UnreadableObjectError` for a body that is not multipart or has too long a part."""

    def __init__(self, content_type: str, maximum_part_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/related" or not boundary:
            raise UnreadableObjectError("the body is no multipart/related with a boundary")
        self._maximum_part_bytes = maximum_part_bytes
        self._whole: list[Part] = []
        self._ended = False
        self._begin()
        try:
            self._parser = self._make_parser(boundary)
        except FormParserError:
            raise UnreadableObjectError("the boundary is too long") from None

    def feed(self, piece: bytes) -> list[Part]:
        """The parts that this piece completes."""
        try:
            self._parser.write(piece)
        except FormParserError:
            raise UnreadableObjectError("the body breaks the rules of multipart") from None
        whole, self._whole = self._whole, []
        return whole

    def finish(self) -> None:
        """To be called at the end of the body: raises where its closing boundary is missing."""
        if not self._ended:
            raise UnreadableObjectError("the body ends before its closing boundary")

    def _make_parser(self, boundary: bytes) -> MultipartParser:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._value,
                "on_header_end": self._end_of_header,
                "on_part_data": self._data,
                "on_part_end": self._end_of_part,
                "on_end": self._end,
            },
        )

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._name, self._text, self._content = bytearray(), bytearray(), bytearray()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _end_of_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._text.decode("latin-1")
        self._name, self._text = bytearray(), bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > self._maximum_part_bytes:
            raise PartTooLongError(
                f"a part is longer than scp.maximum_object_bytes ({self._maximum_part_bytes} bytes)"
            )
        self._content += memoryview(data)[start:end]

    def _end_of_part(self) -> None:
        self._whole.append(Part(self._headers, bytes(self._content)))
        self._begin()

    def _end(self) -> None:
        self._ended = True
