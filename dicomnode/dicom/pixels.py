"""Stored pixel values of one slice, checked against what the file holds before it is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicomnode.dicom.decoder import Decoder, Encoded
from dicomnode.dicom.frames import WantedFrame
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.header import shown
from dicomnode.dicom.images import UNDEFINED_LENGTH, SourceImage
from dicomnode.dicom.pixel_format import PixelFormat
from dicomnode.dicom.refusals import refuse
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError, UnreadableObjectError

MAXIMUM_VOXELS = 1 << 30  # 4 GiB as float32


def check_limits(geometry: SliceGeometry, images: Sequence[SourceImage]) -> None:
    """Sizes against the file contents and the ceilings, before a byte of memory is asked for."""
    slices, rows, columns = geometry.shape
    if slices * rows * columns > MAXIMUM_VOXELS:
        refuse(
            RefusalCode.UNREADABLE_PIXELS,
            f"{slices} slices of {rows} x {columns} pixels are more than the node decodes",
            "Rows, Columns, number of slices",
            [rows, columns, slices],
        )
    for image in images:
        check_length(image)


def check_length(image: SourceImage) -> None:
    """Native pixel data, of this frame and all after it, are as long as the header says.

    Others are checked when they are decoded.
    """
    location, layout = image.pixels, image.layout
    if location is None or location.offset is None:
        return
    needed = layout.bytes_needed * (image.frames - (image.frame or 0))
    there = min(location.length, max(0, image.path.stat().st_size - location.offset))
    if location.length == UNDEFINED_LENGTH or there < needed:
        _refuse_short(layout, there)


def _refuse_short(layout: PixelFormat, there: int) -> NoReturn:
    refuse(
        RefusalCode.UNREADABLE_PIXELS,
        "the pixel data are shorter than Rows and Columns need: truncated or wrong",
        "PixelData, Rows, Columns",
        [there, layout.rows, layout.columns],
    )


class PixelReader:
    """Reads stored values; what has to be decoded for it goes through a process of its own.

    To be closed, or used in a `with` statement, so that the process ends.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        self._decoder.close()

    def each(self, images: Sequence[SourceImage]) -> Iterator[NDArray[np.integer[Any]]]:
        """`stored_values` of one image after the other, the next decoded while one is used."""
        for image, following in zip(images, (*images[1:], None), strict=True):
            yield self.stored_values(image, following)

    def stored_values(
        self, image: SourceImage, following: SourceImage | None = None
    ) -> NDArray[np.integer[Any]]:
        """Stored values (row, column) of one image, sign and unused bits sorted out.

        `following` is the image that will be asked for next. Raises a refusal where they can't be
        decoded, `DecoderError` where nothing can be.
        """
        layout = image.layout
        raw = _native(image, layout) if _is_native(image) else self._decoded(image, following)
        return _significant(raw.reshape(layout.rows, layout.columns), layout)

    def _decoded(self, image: SourceImage, following: SourceImage | None) -> NDArray[Any]:
        try:
            return self._decoder.values(_encoded(image), _encoded_ahead(following))
        except UnreadableObjectError as error:
            syntax = image.transfer_syntax
            name = syntax.name if syntax.is_valid else "an invalid transfer syntax"
            raise SeriesRefusedError(
                Refusal(
                    RefusalCode.UNREADABLE_PIXELS,
                    f"pixel data in {name} can't be decoded: {error}",
                    "TransferSyntaxUID",
                    (shown(syntax),),
                )
            ) from error


def _is_native(image: SourceImage) -> bool:
    return image.pixels is not None and image.pixels.offset is not None


def _encoded(image: SourceImage) -> Encoded:
    layout = image.layout
    wanted = WantedFrame(
        image.frame or 0, image.frames, layout.rows, layout.columns, layout.bits_allocated
    )
    return Encoded(image.path, wanted, image.transfer_syntax == DeflatedExplicitVRLittleEndian)


def _encoded_ahead(image: SourceImage | None) -> Encoded | None:
    """None where there is nothing to decode; what is wrong is said when it is its turn."""
    with suppress(SeriesRefusedError):
        if image is not None and not _is_native(image):
            return _encoded(image)
    return None


def _native(image: SourceImage, layout: PixelFormat) -> NDArray[Any]:
    order = "<" if image.transfer_syntax.is_little_endian else ">"
    kind = f"{order}u{layout.bits_allocated // 8}"
    offset = image.pixels.offset or 0 if image.pixels else 0
    stored = np.empty(layout.rows * layout.columns, kind)
    with image.path.open("rb", buffering=0) as file:
        file.seek(offset)
        there = file.readinto(stored.view(np.uint8).data)
    if there < stored.nbytes:
        _refuse_short(layout, there)
    return stored


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
