"""Reading headers as scanners write them: invalid values count as absent, never as an error.

pydicom's own validation is off here and in the rest of this package: it would write an invalid
value, which may be a patient's name, into the log.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicomnode.domain import Acquisition, HeaderClaims
from dicomnode.errors import UnreadableObjectError

MAXIMUM_INFLATED_BYTES = 1 << 29  # as at intake
MAXIMUM_ITEMS = 500_000  # 60,000 frames with eight functional groups each
_ITEM_BYTES, _CHUNK_BYTES = 8, 1 << 22
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # of either byte order
_CODE_STRING = re.compile(r"[A-Za-z0-9 _]{0,16}")
_LONGEST_VALUE = 64

# What pydicom raises on broken bytes; it has no exception of its own for most of them.
PARSE_ERRORS = (
    UnreadableObjectError,
    InvalidDicomError,
    BytesLengthException,
    ArithmeticError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zlib.error,
    EOFError,
    OSError,
)


def is_of_the_machine(error: BaseException) -> bool:
    """A file that is gone, a failing disk: says nothing of the series, and may pass."""
    return isinstance(error, OSError) and error.errno is not None


def reason(error: BaseException) -> str:
    """Why parsing failed, without the message of pydicom, which may quote a patient's data."""
    match error:
        case UnreadableObjectError() | NotImplementedError():
            return next(iter(str(error).splitlines()), "not supported")
        case InvalidDicomError():
            return "it lacks the DICM prefix of a DICOM file"
        case EOFError():
            return "it ends too early"
        case OSError(strerror=str() as text_of_system):
            return text_of_system
    return f"it is damaged ({type(error).__name__})"


def read_data_set(path: Path) -> FileDataset:
    """The data set before the pixel data; raises one of `PARSE_ERRORS`."""
    with path.open("rb") as stream:
        guard(stream)
        return pydicom.dcmread(stream, stop_before_pixels=True)


def guard(stream: BinaryIO) -> None:
    """Refuse an object that pydicom would take minutes or gigabytes to read.

    A deflated one (PS3.5 A.5) that grows beyond `MAXIMUM_INFLATED_BYTES`, since the whole of it is
    inflated at once; and one of more than `MAXIMUM_ITEMS` items (PS3.5 7.5), which take 8 bytes
    each in the file and a hundred times that as data sets.
    """
    try:
        read_preamble(stream, force=False)
        meta = _read_file_meta_info(stream)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            _guard_items(_inflated(stream))
        elif _left(stream) > _ITEM_BYTES * MAXIMUM_ITEMS:
            _guard_items(iter(lambda: stream.read(_CHUNK_BYTES), b""))
    finally:
        stream.seek(0)


def _left(stream: BinaryIO) -> int:
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end - here


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while not inflater.eof and (deflated := inflater.unconsumed_tail or stream.read(1 << 16)):
        chunk = inflater.decompress(deflated, _CHUNK_BYTES)
        total += len(chunk)
        if total > MAXIMUM_INFLATED_BYTES:
            raise UnreadableObjectError(
                f"the deflated object grows beyond {MAXIMUM_INFLATED_BYTES} bytes"
            )
        yield chunk


def _guard_items(chunks: Iterable[bytes]) -> None:
    """Whatever looks like the tag of an item counts; among pixels it is one in 4 GiB."""
    items, end = 0, b""
    for chunk in chunks:
        seen = end + chunk
        items += sum(seen.count(tag) for tag in _ITEM_TAGS)
        end = seen[-3:]
        if items > MAXIMUM_ITEMS:
            raise UnreadableObjectError(f"it holds more than {MAXIMUM_ITEMS} sequence items")


def value(ds: Dataset, keyword: str) -> Any:
    """The value of an element, or None where it is absent, empty or can't be parsed."""
    try:
        element = ds.get(tag_of(keyword))
        found = None if element is None else element.value
    except PARSE_ERRORS:
        return None
    return None if found is None or found == "" else found


@cache
def tag_of(keyword: str) -> BaseTag:
    """The same object each time, which is found without comparing: a third of the time."""
    return Tag(keyword)


def text(ds: Dataset, keyword: str) -> str | None:
    found = value(ds, keyword)
    return str(found).strip() or None if found is not None else None


def texts(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a multi-valued text element, as given."""
    found = value(ds, keyword)
    if found is None:
        return ()
    several = [found] if isinstance(found, (str, UID)) or not isinstance(found, Iterable) else found
    return tuple(str(item).strip() for item in several)


def printable(given: str) -> str:
    """Without what could steer a terminal or break a line."""
    return "".join(c if c.isprintable() else "?" for c in given.strip())


def shown(found: object) -> str:
    """A value, or several, as short text for people."""
    if found is None:
        return "(absent)"
    if isinstance(found, str):
        return printable(found)[:_LONGEST_VALUE]
    if isinstance(found, Iterable):
        return "\\".join(shown(item) for item in found)
    return f"{found:.5g}" if isinstance(found, float) else printable(str(found))[:_LONGEST_VALUE]


def code_strings(ds: Dataset, keyword: str) -> str:
    """The values of a CS element for people; what is none (PS3.5 6.2) may be anybody's name."""
    found = texts(ds, keyword)
    several = (item if _CODE_STRING.fullmatch(item) else "(invalid)" for item in found)
    return "\\".join(several) if any(found) else "(absent)"


def numbers(ds: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, else None."""
    found = value(ds, keyword)
    several = found if count > 1 and isinstance(found, Iterable) else [found]
    return _finite(several, count) or _finite(_as_meant(ds, keyword), count)


def _finite(several: Iterable[Any], count: int) -> tuple[float, ...] | None:
    try:
        result = tuple(float(item) for item in several)
    except (TypeError, ValueError):
        return None
    return result if len(result) == count and all(map(math.isfinite, result)) else None


def _as_meant(ds: Dataset, keyword: str) -> Sequence[str]:
    """The texts of a DS or IS element with decimal commas or backslashes at its end."""
    if keyword not in ds or dictionary_VR(keyword) not in ("DS", "IS"):
        return ()
    given = ds.get_item(keyword).value
    if isinstance(given, bytes):
        given = given.decode("ascii", "replace")
    elif isinstance(given, Iterable) and not isinstance(given, str):
        given = "\\".join(map(str, given))
    return str(given).strip("\0 ").rstrip("\\ ").replace(",", ".").split("\\")


def private_number(ds: Dataset, group: int, element: int, creator: str) -> float | None:
    """A number in a private block (PS3.5 7.8), whatever the VR that it came with."""
    try:
        found = ds.private_block(group, creator)[element].value
    except PARSE_ERRORS:
        return None
    if isinstance(found, bytes):
        text_of_it = found.strip(b" ")
        found = text_of_it if text_of_it.isdigit() else int.from_bytes(found, "little")
    result = _finite([found], 1)
    return result[0] if result else None


def number(ds: Dataset, keyword: str) -> float | None:
    found = numbers(ds, keyword, 1)
    return found[0] if found is not None else None


@disable_value_validation()
def read_claims(datasets: Sequence[Dataset]) -> HeaderClaims:
    """What the headers of a series say about de-identification, the strictest reading of all.

    "Removed" or "not recognizable" counts only where every instance says so, the opposite as
    soon as one does.
    """
    return HeaderClaims(
        patient_identity_removed=_strictest(datasets, "PatientIdentityRemoved", "NO", "YES"),
        deidentification_method=_union(datasets, lambda ds: texts(ds, "DeidentificationMethod")),
        deidentification_codes=_union(datasets, _method_codes),
        recognizable_visual_features=_strictest(
            datasets, "RecognizableVisualFeatures", "YES", "NO"
        ),
        burned_in_annotation=_strictest(datasets, "BurnedInAnnotation", "YES", "NO"),
        body_part_examined=next(
            (part for ds in datasets if (part := text(ds, "BodyPartExamined"))), None
        ),
    )


@disable_value_validation()
def read_acquisition(datasets: Sequence[Dataset], slice_spacing_mm: float) -> Acquisition:
    """What is no code string (PS3.5 6.2) is left out: it may be anybody's name."""
    return Acquisition(
        slice_spacing_mm=round(slice_spacing_mm, 3),
        image_types=_codes(datasets, lambda ds: texts(ds, "ImageType")),
        scanning_sequences=_codes(datasets, _scanning_sequences),
    )


def _scanning_sequences(ds: Dataset) -> tuple[str, ...]:
    """Enhanced MR says the same in other words (PS3.3 C.8.13.4)."""
    planar = {"YES": ("EP",), "NO": ("NOT EP",)}.get(text(ds, "EchoPlanarPulseSequence") or "", ())
    return (*texts(ds, "ScanningSequence"), *planar)


def _codes(
    datasets: Sequence[Dataset], of: Callable[[Dataset], tuple[str, ...]]
) -> tuple[str, ...]:
    said = _union(datasets, of)
    return tuple(sorted({item.upper() for item in said if _CODE_STRING.fullmatch(item)}))


def _strictest(datasets: Sequence[Dataset], keyword: str, strict: str, lenient: str) -> str | None:
    found = {(text(ds, keyword) or "").upper() for ds in datasets}
    if strict in found:
        return strict
    return lenient if found == {lenient} else None


def _union(
    datasets: Sequence[Dataset], of: Callable[[Dataset], tuple[str, ...]]
) -> tuple[str, ...]:
    return tuple(sorted({item for ds in datasets for item in of(ds) if item}))


def _method_codes(ds: Dataset) -> tuple[str, ...]:
    items = value(ds, "DeidentificationMethodCodeSequence") or ()
    return tuple(f"{text(i, 'CodeValue')}/{text(i, 'CodingSchemeDesignator')}" for i in items)
