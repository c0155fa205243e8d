"""Stored pixel values of one slice, checked against what the file holds before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dicomnode.dicom.codestream import announced_size
from dicomnode.dicom.header import PARSE_ERRORS, guard_deflated, is_of_the_machine, number, reason
from dicomnode.dicom.refusals import refuse
from dicomnode.dicom.series import PixelLocation, SourceSeries
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError, UnreadableObjectError

MAXIMUM_SLICE_PIXELS = 4096 * 4096
MAXIMUM_VOXELS = 1 << 30  # 4 GiB as float32
_UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True)
class PixelFormat:
    """How one slice stores its values (PS3.3 C.7.6.3.1, PS3.5 8.1.1)."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def bytes_needed(self) -> int:
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def lowest(self) -> int:
        return -(1 << (self.bits_stored - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        return self.lowest + (1 << self.bits_stored) - 1


def pixel_format(ds: Dataset) -> PixelFormat:
    """Raises a refusal for anything but 8, 16 or 32 bits allocated and a sane bit range."""
    allocated = int(number(ds, "BitsAllocated") or 0)
    stored = int(number(ds, "BitsStored") or allocated)
    high = number(ds, "HighBit")
    high_bit = int(high) if high is not None else stored - 1
    if allocated not in (8, 16, 32) or not stored - 1 <= high_bit < allocated or stored < 1:
        refuse(
            RefusalCode.UNREADABLE_PIXELS,
            "the bits allocated, stored and the high bit don't describe whole gray values",
            "BitsAllocated, BitsStored, HighBit",
            [allocated, stored, high_bit],
        )
    signed = number(ds, "PixelRepresentation") == 1
    return PixelFormat(int(ds.Rows), int(ds.Columns), allocated, stored, high_bit, signed)


def check_limits(source: SourceSeries) -> None:
    """Sizes against the file contents and the ceilings, before a byte of memory is asked for."""
    slices, rows, columns = source.geometry.shape
    if rows * columns > MAXIMUM_SLICE_PIXELS or slices * rows * columns > MAXIMUM_VOXELS:
        refuse(
            RefusalCode.UNREADABLE_PIXELS,
            f"{slices} slices of {rows} x {columns} pixels are more than the node decodes",
            "Rows, Columns, number of slices",
            [rows, columns, slices],
        )
    for ds, path, location in zip(
        source.datasets, source.paths, source.pixel_locations, strict=True
    ):
        expected = pixel_format(ds).bytes_needed
        if location.offset is None:
            continue
        there = min(location.length, max(0, path.stat().st_size - location.offset))
        if location.length == _UNDEFINED_LENGTH or there < expected:
            refuse(
                RefusalCode.UNREADABLE_PIXELS,
                f"the pixel data have {there} bytes where Rows and Columns need {expected}: "
                "truncated or wrong",
                "PixelData, Rows, Columns",
                [there, rows, columns],
            )


def stored_values(ds: Dataset, path: Path, location: PixelLocation) -> NDArray[np.integer[Any]]:
    """Stored values (row, column) of one slice, sign and unused bits sorted out.

    Raises a refusal where they can't be decoded.
    """
    layout = pixel_format(ds)
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    if location.offset is None:
        raw = _decode(path, layout, syntax)
    else:
        raw = _native(path, location.offset, layout, syntax)
    return _significant(raw.reshape(layout.rows, layout.columns), layout)


def _native(path: Path, offset: int, layout: PixelFormat, syntax: UID) -> NDArray[Any]:
    order = "<" if syntax.is_little_endian else ">"
    kind = f"{order}u{layout.bits_allocated // 8}"
    return np.fromfile(path, kind, count=layout.rows * layout.columns, offset=offset)


def _decode(path: Path, layout: PixelFormat, syntax: UID) -> NDArray[Any]:
    """Compressed and deflated objects, through pydicom and pylibjpeg."""
    try:
        with path.open("rb") as stream:
            guard_deflated(stream)
            ds = pydicom.dcmread(stream)
        if syntax.is_encapsulated:
            _check_announced_size(get_frame(ds.PixelData, 0, number_of_frames=1), layout)
            array, _ = get_decoder(syntax).as_array(ds, raw=True, index=0)
            return array
        order = "<" if syntax.is_little_endian else ">"
        kind = f"{order}u{layout.bits_allocated // 8}"
        return np.frombuffer(ds.PixelData, kind, count=layout.rows * layout.columns)
    except BaseException as error:
        if not _is_decoding_error(error):
            raise
        raise SeriesRefusedError(
            Refusal(
                RefusalCode.UNREADABLE_PIXELS,
                f"pixel data in {syntax.name} can't be decoded: {_why(error)}",
                "TransferSyntaxUID",
                (str(syntax),),
            )
        ) from error


def _is_decoding_error(error: BaseException) -> bool:
    """The RLE decoder is Rust; on broken data it panics, which is no `Exception`."""
    if is_of_the_machine(error):
        return False
    return (
        isinstance(error, (*PARSE_ERRORS, RuntimeError)) or type(error).__name__ == "PanicException"
    )


def _check_announced_size(frame: bytes, layout: PixelFormat) -> None:
    size = announced_size(frame)
    if size is not None and size != (layout.rows, layout.columns):
        raise UnreadableObjectError(
            f"the compressed image says {size[0]} x {size[1]} pixels, "
            f"the header {layout.rows} x {layout.columns}"
        )


def _why(error: BaseException) -> str:
    """pydicom's RuntimeError lists what each decoder said; it quotes no patient data."""
    if isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError):
        return " ".join(str(error).split())[:200]
    return reason(error)


def _significant(raw: NDArray[Any], layout: PixelFormat) -> NDArray[np.integer[Any]]:
    """Bits outside [high_bit - bits_stored + 1, high_bit] may hold overlays: cut them off."""
    width = layout.bits_allocated // 8
    signed = np.dtype(f"=i{width}")
    above = layout.bits_allocated - 1 - layout.high_bit
    below = layout.high_bit + 1 - layout.bits_stored
    kind = signed if layout.signed else np.dtype(f"=u{width}")
    values = raw.astype(kind, copy=False)
    if above == 0 and below == 0:
        return values
    shifted: NDArray[np.integer[Any]] = (values << above) >> (above + below)
    return shifted
