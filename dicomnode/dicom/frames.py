"""One frame of a compressed or deflated object, decoded by pydicom and pylibjpeg.

Runs in the decoder's process (`decoder_process`): every byte here is a peer's, and decoders are
native code.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames, get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicomnode.dicom.codestream import announced_size
from dicomnode.dicom.header import guard
from dicomnode.errors import UnreadableObjectError

_DECODED_BY = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


@dataclass(frozen=True)
class WantedFrame:
    """One frame of `frames`, counted from 0, and the picture that its header promises."""

    frame: int
    frames: int
    rows: int
    columns: int
    bits_allocated: int

    LAYOUT = struct.Struct("<5L")

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(f"<u{self.bits_allocated // 8}")

    def pack(self) -> bytes:
        return self.LAYOUT.pack(
            self.frame, self.frames, self.rows, self.columns, self.bits_allocated
        )

    @classmethod
    def unpack(cls, data: bytes) -> WantedFrame:
        return cls(*cls.LAYOUT.unpack(data))


class EncodedObject:
    """A whole object in memory.

    Its frames are parted once, unless an Extended Offset Table tells where each begins: to look
    for one frame after the other takes a time that grows with the square of their number.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Raises what pydicom raises on broken bytes (`header.PARSE_ERRORS`)."""
        guard(stream)
        self._ds = pydicom.dcmread(stream)
        self._frames: list[bytes] = []

    def values(self, wanted: WantedFrame) -> NDArray[Any]:
        """Stored values (row, column) of one frame, unsigned, little endian, as encoded.

        Raises `UnreadableObjectError` with a sentence, or what decoders raise.
        """
        syntax = UID(self._ds.file_meta.TransferSyntaxUID)
        if syntax == DeflatedExplicitVRLittleEndian:
            pixels = wanted.rows * wanted.columns
            start = wanted.frame * pixels * wanted.dtype.itemsize
            found = np.frombuffer(self._ds.PixelData, wanted.dtype, pixels, start)
            return found.reshape(wanted.rows, wanted.columns)
        decoder = _decoder(syntax)
        encoded = self._encoded_frame(wanted)
        _check_announced_size(encoded, wanted)
        array, _ = decoder.as_array(self._alone(encoded), raw=True)
        return array.astype(wanted.dtype, copy=False).reshape(wanted.rows, wanted.columns)

    def _encoded_frame(self, wanted: WantedFrame) -> bytes:
        ds = self._ds
        if "ExtendedOffsetTable" in ds and "ExtendedOffsetTableLengths" in ds:
            table = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)  # PS3.3 C.7.6.3.1.8
            return get_frame(ds.PixelData, wanted.frame, extended_offsets=table)
        if not self._frames:
            self._frames = list(generate_frames(ds.PixelData, number_of_frames=wanted.frames))
        if wanted.frame >= len(self._frames):
            raise UnreadableObjectError(f"it holds {len(self._frames)} of {wanted.frames} frames")
        return self._frames[wanted.frame]

    def _alone(self, encoded: bytes) -> Dataset:
        """The image that one frame would be alone, with what decoders look at."""
        found = Dataset()
        found.file_meta = self._ds.file_meta
        for keyword in _DECODED_BY:
            if keyword in self._ds:
                found[keyword] = self._ds[keyword]
        found.PixelData = encapsulate([encoded], has_bot=False)
        found["PixelData"].VR = "OB"
        return found


def _decoder(syntax: UID) -> Decoder:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise UnreadableObjectError("no decoder is installed for it")
    return decoder


def _check_announced_size(frame: bytes, wanted: WantedFrame) -> None:
    size = announced_size(frame)
    if size is not None and size != (wanted.rows, wanted.columns):
        raise UnreadableObjectError(
            f"the compressed image says {size[0]} x {size[1]} pixels, "
            f"the header {wanted.rows} x {wanted.columns}"
        )
