"""Explicit VR little endian encoding (PS3.5 7.1.2, 7.5) of small data sets by the thousand.

pydicom encodes the functional groups of a frame in four milliseconds, most of it spent on buffers
and character sets that these do not need: half of the time that a SEG of 900 frames takes. The
bytes are those that pydicom writes; what is not among the plain value representations is written
by pydicom.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

_INTEGERS = {"UL": "L", "US": "H", "SL": "l", "SS": "h"}
_TEXTS = frozenset({"AE", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UI"})
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)


def encoded_sequence(tag: int, items: Iterable[Dataset]) -> bytes:
    """The element with its items, all of defined length."""
    value = b"".join(_item(item) for item in items)
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(value)) + value


def _item(ds: Dataset) -> bytes:
    value = b"".join(_element(element) for element in ds)
    return _ITEM + struct.pack("<L", len(value)) + value


def _element(element: DataElement) -> bytes:
    vr, tag, found = element.VR, element.tag, element.value
    if vr == "SQ":
        return encoded_sequence(tag, found)
    several = found if element.VM > 1 else [found]
    if vr in _INTEGERS and element.VM:
        value = struct.pack(f"<{len(several)}{_INTEGERS[vr]}", *several)
    elif vr in _TEXTS and element.VM and (text := _text(several)).isascii():
        value = text.encode("ascii") + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)
    else:
        return _by_pydicom(element)
    return struct.pack("<HH2sH", tag.group, tag.element, vr.encode(), len(value)) + value


def _text(several: Iterable[object]) -> str:
    """Numbers as they were written, where they were read."""
    return "\\".join(getattr(item, "original_string", None) or str(item) for item in several)


def _by_pydicom(element: DataElement) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = False, True
    write_data_element(out, element)
    return out.getvalue()
