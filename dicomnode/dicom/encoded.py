"""An encoded data set, walked element by element without decoding a value (PS3.5 section 7).

The receiver needs five short values and the certainty that nothing is cut off. So every length is
followed to the end of the data, and only what is asked for is read. Every byte comes from a peer:
depth, number of elements and inflated size are bounded.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from dicomnode.dicom.uid_syntax import only_uid
from dicomnode.domain import InstanceHeader, SizeHints
from dicomnode.errors import UnreadableObjectError

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
# GE's private syntax: implicit little endian, only the pixel data is big endian.
_IMPLICIT = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, "1.2.840.113619.5.2"})
_BIG_ENDIAN = frozenset({EXPLICIT_VR_BIG_ENDIAN})
_DEFLATED = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)

_LONG_LENGTH_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM, _ITEM_DELIMITATION, _SEQUENCE_DELIMITATION = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009})
_MODALITY = 0x00080060
_TEXT_TAGS = {
    0x00080016: "SOP Class UID",
    0x00080018: "SOP Instance UID",
    _MODALITY: "Modality",
    0x0020000D: "Study Instance UID",
    0x0020000E: "Series Instance UID",
}
_ACQUISITION_NUMBER, _IMAGES_IN_ACQUISITION = 0x00200012, 0x00201002
_CONCATENATION_UID, _IN_CONCATENATION_TOTAL = 0x00209161, 0x00209163
_NUMBER_OF_FRAMES = 0x00280008
_HINT_TAGS = frozenset(
    {_ACQUISITION_NUMBER, _IMAGES_IN_ACQUISITION, _CONCATENATION_UID, _NUMBER_OF_FRAMES}
)
_LARGEST_INTEGER_STRING = 2**31 - 1  # PS3.5 6.2, VR IS

LARGEST_INFLATED_BYTES = 512 * 1024 * 1024
MOST_ELEMENTS = 5_000_000
DEEPEST_SEQUENCE = 64


@dataclass(frozen=True)
class Peek:
    """What the index needs of a data set; `pixel_sha256` is empty where it has no pixels.

    `data_set_sha256` is that of the inflated data set in which the value of each pixel data element
    is replaced by its own SHA-256 in hexadecimal digits: large values are hashed once.
    """

    header: InstanceHeader
    pixel_sha256: str
    data_set_sha256: str


@dataclass(frozen=True)
class Element:
    """Where the value of one top-level element lies: `data[start:start + length]`.

    `vr` is told by `elements_before_pixels` alone.
    """

    tag: int
    start: int
    length: int
    vr: str = ""


@dataclass(frozen=True)
class Scan:
    """What an encoded data set says of itself, and where its pixel data lie, once inflated."""

    header: InstanceHeader
    pixels: tuple[Element, ...]


def scan(data: bytes | memoryview, transfer_syntax_uid: str) -> Scan:
    """Walk the whole encoded data set and read the attributes that identify it.

    Raises `UnreadableObjectError` with a sentence where the bytes are no data set of this transfer
    syntax, are cut off, lack one of the three instance UIDs or the SOP Class UID, or hold elements
    out of order or twice (PS3.5 7.1): two readers could take such an object for two series.
    """
    return _scan(_inflated(data, transfer_syntax_uid), transfer_syntax_uid)


def peek(data: bytes | memoryview, transfer_syntax_uid: str) -> Peek:
    """`scan`, and the digests of what was found.

    The pixel digest is over the encoded value of (Float, Double Float) Pixel Data.
    """
    data = _inflated(data, transfer_syntax_uid)
    found = _scan(data, transfer_syntax_uid)
    pixels, around, hashed = "", hashlib.sha256(), 0
    with memoryview(data) as view:
        for element in found.pixels:
            end = element.start + element.length
            pixels = hashlib.sha256(view[element.start : end]).hexdigest()
            around.update(view[hashed : element.start])
            around.update(pixels.encode())
            hashed = end
        around.update(view[hashed:])
    return Peek(found.header, pixels, around.hexdigest())


def is_deflated(transfer_syntax_uid: str) -> bool:
    return transfer_syntax_uid in _DEFLATED


def _inflated(data: bytes | memoryview, transfer_syntax_uid: str) -> bytes | memoryview:
    return _inflate(data) if is_deflated(transfer_syntax_uid) else data


def _scan(data: bytes | memoryview, transfer_syntax_uid: str) -> Scan:
    values: dict[int, str] = {}
    pixels: list[Element] = []
    last = -1
    for element in elements(data, transfer_syntax_uid):
        if element.tag <= last:
            raise UnreadableObjectError(
                f"element {_named(element.tag)} comes after {_named(last)}: out of order or twice"
            )
        last = element.tag
        if element.tag in _TEXT_TAGS or element.tag in _HINT_TAGS:
            values[element.tag] = _text(data, element)
        elif element.tag == _IN_CONCATENATION_TOTAL:
            values[element.tag] = _unsigned_short(data, element, transfer_syntax_uid)
        elif element.tag in _PIXEL_DATA:
            pixels.append(element)
    for tag, name in _TEXT_TAGS.items():
        if not values.get(tag) and name != "Modality":
            raise UnreadableObjectError(f"the data set has no {name}")
    return Scan(_header(values, transfer_syntax_uid), tuple(pixels))


def claimed_header(data: bytes | memoryview, transfer_syntax_uid: str) -> InstanceHeader:
    """What an object that `peek` refuses says of itself before the damage.

    The first value of an element counts, and only UIDs are UIDs; "" where there is none. Raises
    nothing.
    """
    values: dict[int, str] = {}
    with suppress(UnreadableObjectError):
        if transfer_syntax_uid in _DEFLATED:
            data = _inflate(data, whole=False)
        for element in elements(data, transfer_syntax_uid):
            if element.tag in _TEXT_TAGS:
                values.setdefault(element.tag, _text(data, element))
    uids = {tag: only_uid(value) for tag, value in values.items() if tag != _MODALITY}
    return _header(values | uids, transfer_syntax_uid)


def _header(values: Mapping[int, str], transfer_syntax_uid: str) -> InstanceHeader:
    return InstanceHeader(
        sop_class_uid=values.get(0x00080016, ""),
        sop_instance_uid=values.get(0x00080018, ""),
        study_instance_uid=values.get(0x0020000D, ""),
        series_instance_uid=values.get(0x0020000E, ""),
        transfer_syntax_uid=transfer_syntax_uid,
        modality=_code_string(values.get(_MODALITY, "")),
        hints=SizeHints(
            acquisition_number=_integer(values.get(_ACQUISITION_NUMBER, "")),
            images_in_acquisition=_integer(values.get(_IMAGES_IN_ACQUISITION, "")),
            number_of_frames=_integer(values.get(_NUMBER_OF_FRAMES, "")),
            concatenation_uid=only_uid(values.get(_CONCATENATION_UID, "")),
            in_concatenation_total=_integer(values.get(_IN_CONCATENATION_TOTAL, "")),
        ),
    )


def _named(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def elements(data: bytes | memoryview, transfer_syntax_uid: str) -> Iterator[Element]:
    """The top-level elements of an inflated data set, in the order in which they are encoded."""
    walk = _Walk(
        data,
        explicit=transfer_syntax_uid not in _IMPLICIT,
        order=">" if transfer_syntax_uid in _BIG_ENDIAN else "<",
    )
    return walk.top_level()


def elements_before_pixels(data: bytes, offset: int, *, implicit: bool) -> Iterator[Element]:
    """The top-level elements of a little endian data set that begins at `offset`, up to that of its
    pixels, whose value may lie beyond the end of `data`. One of undefined length has no VR here."""
    return _Walk(data, explicit=not implicit, order="<").before_pixels(offset)


class _Walk:
    """One pass over the data; counts elements so that a peer can't make it endless."""

    def __init__(self, data: bytes | memoryview, *, explicit: bool, order: str) -> None:
        self._data = data
        self._end = len(data)
        self._explicit = explicit
        self._tag = struct.Struct(f"{order}HH").unpack_from
        self._short = struct.Struct(f"{order}H").unpack_from
        self._long = struct.Struct(f"{order}L").unpack_from
        self._count = 0

    def top_level(self) -> Iterator[Element]:
        offset = 0
        while self._end - offset >= 8:
            tag, start, length, explicit = self._header(offset, self._explicit)
            offset = self._value_end(tag, start, length, explicit, depth=0)
            # An undefined length ends with a sequence delimitation item of 8 bytes.
            yield Element(tag, start, offset - start - (8 if length == _UNDEFINED_LENGTH else 0))
        if any(self._data[offset:]):
            raise UnreadableObjectError(
                f"the data set ends inside an element header at byte {offset}"
            )

    def before_pixels(self, offset: int) -> Iterator[Element]:
        while True:
            tag, start, length, explicit = self._header(offset, self._explicit)
            if tag in _PIXEL_DATA:
                yield Element(tag, start, length)
                return
            end = self._value_end(tag, start, length, explicit, depth=0)
            vr = b"" if length == _UNDEFINED_LENGTH else bytes(self._data[offset + 4 : offset + 6])
            yield Element(tag, start, length, vr.decode("latin-1"))
            offset = end

    def _header(self, offset: int, explicit: bool) -> tuple[int, int, int, bool]:
        """Tag, start of the value, its length, and whether items inside have explicit VRs."""
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise UnreadableObjectError(f"the data set has more than {MOST_ELEMENTS} elements")
        if offset + 8 > self._end:
            raise UnreadableObjectError(f"the data set ends inside an element at byte {offset}")
        group, number = self._tag(self._data, offset)
        tag = group << 16 | number
        vr = bytes(self._data[offset + 4 : offset + 6])
        # Some vendors encode single elements without a VR: letters tell the two apart.
        if group == 0xFFFE or not explicit or not (vr.isalpha() and vr.isupper()):
            return tag, offset + 8, self._long(self._data, offset + 4)[0], explicit
        if vr not in _LONG_LENGTH_VRS:
            return tag, offset + 8, self._short(self._data, offset + 6)[0], explicit
        if offset + 12 > self._end:
            raise UnreadableObjectError(f"the data set ends inside an element at byte {offset}")
        # PS3.5 6.2.2: UN of undefined length holds items in implicit VR.
        return tag, offset + 12, self._long(self._data, offset + 8)[0], vr != b"UN"

    def _value_end(self, tag: int, start: int, length: int, explicit: bool, depth: int) -> int:
        if length == _UNDEFINED_LENGTH:
            return self._after_items(tag, start, explicit, depth + 1)
        if start + length > self._end:
            raise UnreadableObjectError(
                f"element {_named(tag)} announces {length} bytes, only {self._end - start} follow"
            )
        return start + length

    def _after_items(self, tag: int, offset: int, explicit: bool, depth: int) -> int:
        """PS3.5 7.5 and A.4: items up to the sequence delimitation item."""
        if depth > DEEPEST_SEQUENCE:
            raise UnreadableObjectError(f"sequences are nested deeper than {DEEPEST_SEQUENCE}")
        while True:
            item, start, length, _ = self._header(offset, explicit)
            if item == _SEQUENCE_DELIMITATION:
                return start
            if item != _ITEM or (tag in _PIXEL_DATA and length == _UNDEFINED_LENGTH):
                raise UnreadableObjectError(
                    f"element {_named(tag)} holds something that is no item at byte {offset}"
                )
            if length == _UNDEFINED_LENGTH:
                offset = self._after_item_elements(start, explicit, depth)
            else:
                offset = self._value_end(item, start, length, explicit, depth)

    def _after_item_elements(self, offset: int, explicit: bool, depth: int) -> int:
        while True:
            tag, start, length, inner = self._header(offset, explicit)
            if tag == _ITEM_DELIMITATION:
                return start
            offset = self._value_end(tag, start, length, inner, depth)


def _inflate(data: bytes | memoryview, *, whole: bool = True) -> bytes:
    """PS3.5 A.5: raw deflate, bounded; not `whole`: what can be inflated of a piece."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, LARGEST_INFLATED_BYTES)
    except zlib.error as error:
        raise UnreadableObjectError(f"the deflated data set is damaged: {error}") from None
    if not whole:
        return inflated
    if inflater.unconsumed_tail:
        raise UnreadableObjectError(
            f"the deflated data set is larger than {LARGEST_INFLATED_BYTES} bytes"
        )
    if not inflater.eof:
        raise UnreadableObjectError("the deflated data set is cut off")
    return inflated


def _text(data: bytes | memoryview, element: Element) -> str:
    """A UI or CS value; longer than any of them can be is no value of ours."""
    value = data[element.start : element.start + min(element.length, 256)]
    return bytes(value).decode("ascii", "replace").strip(" \0")


def _unsigned_short(data: bytes | memoryview, element: Element, transfer_syntax_uid: str) -> str:
    """A US value; empty where it has another length."""
    if element.length != 2:
        return ""
    order = ">" if transfer_syntax_uid in _BIG_ENDIAN else "<"
    return str(struct.unpack_from(f"{order}H", data, element.start)[0])


def _integer(value: str) -> int | None:
    """PS3.5 6.2, VR IS, zero or more; a hint that is none is left out."""
    text = value.strip().removeprefix("+")
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if number <= _LARGEST_INTEGER_STRING else None


def _code_string(value: str) -> str:
    """PS3.5 6.2, VR CS; anything else is recorded as empty, since the value reaches logs."""
    first = value.split("\\")[0].strip()
    allowed = len(first) <= 16 and first.isascii() and first.replace("_", "").replace(" ", "")
    return first if allowed and first.replace("_", "").replace(" ", "").isalnum() else ""
