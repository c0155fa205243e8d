"""How an image stores its values, read from its header."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicomnode.dicom.header import number
from dicomnode.dicom.refusals import refuse
from dicomnode.domain import RefusalCode

MAXIMUM_SLICE_PIXELS = 4096 * 4096


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
    high_bit = max(int(high or 0), stored - 1)  # none is lower: that would cut values off
    if allocated not in (8, 16, 32) or high_bit >= allocated or stored < 1:
        refuse(
            RefusalCode.UNREADABLE_PIXELS,
            "the bits allocated, stored and the high bit don't describe whole gray values",
            "BitsAllocated, BitsStored, HighBit",
            [allocated, stored, high_bit],
        )
    if int(ds.Rows) * int(ds.Columns) > MAXIMUM_SLICE_PIXELS:
        refuse(
            RefusalCode.UNREADABLE_PIXELS,
            f"an image of {ds.Rows} x {ds.Columns} pixels is more than the node decodes",
            "Rows, Columns",
            [ds.Rows, ds.Columns],
        )
    signed = number(ds, "PixelRepresentation") == 1
    return PixelFormat(int(ds.Rows), int(ds.Columns), allocated, stored, high_bit, signed)
