"""A series becomes a volume: rescaled values on the source grid, never without its geometry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.header import number, text
from dicomnode.dicom.pixel_format import PixelFormat, pixel_format
from dicomnode.dicom.pixels import PixelReader, check_limits
from dicomnode.dicom.series import SourceStack

LOWEST_HOUNSFIELD = -1024.0
_AIR = {"CT": LOWEST_HOUNSFIELD, "MR": 0.0}
# A header can name a whole range as padding; only outside this one it is believed for CT, since a
# wrong claim must not wipe out tissue.
_TISSUE_HOUNSFIELD = (-950.0, 3000.0)


@dataclass(frozen=True)
class Volume:
    """`array` float32 (slice, row, column): values after rescaling, padding replaced by air."""

    array: NDArray[np.float32]
    geometry: SliceGeometry
    modality: str
    warnings: tuple[str, ...] = ()


def read_volume(source: SourceStack) -> Volume:
    """Decode and rescale every slice; raises as `volume_of`, and where pixels can't be decoded."""
    check_limits(source.geometry, source.images)
    with PixelReader() as reader:
        return volume_of(source, reader.each(source.images))


@disable_value_validation()
def volume_of(source: SourceStack, planes: Iterable[NDArray[np.integer[Any]]]) -> Volume:
    """Stored values, slice by slice, rescaled (PS3.3 C.11.1).

    CT values end at -1024 HU below, where scanners write padding as -2000 or -3024. Raises
    `SeriesRefusedError` where sizes are wrong.
    """
    array = np.empty(source.geometry.shape, np.float32)
    padded, inverts = 0, _may_be_inverted(source)
    ends_low = source.modality == "CT" and not inverts
    for image, plane, stored in zip(source.images, array, planes, strict=True):
        _rescale(stored, *rescale_of(image.ds), out=plane)
        if (hidden := _padding(image.ds, image.layout, source.modality)) is not None:
            padded += _mark_padding(plane, stored, hidden)
        if ends_low:  # while the plane is in the processor's cache
            np.maximum(plane, LOWEST_HOUNSFIELD, out=plane)
    warnings = _invert_if_bright_air(array, source) if inverts else ()
    warnings += _fill_padding(array, padded, _AIR[source.modality])
    if source.modality == "CT" and not ends_low:
        np.maximum(array, LOWEST_HOUNSFIELD, out=array)
    return Volume(array, source.geometry, source.modality, (*source.warnings, *warnings))


def _rescale(
    stored: NDArray[np.integer[Any]], slope: float, intercept: float, out: NDArray[np.float32]
) -> None:
    out[...] = stored
    if slope != 1.0:
        out *= np.float32(slope)
    if intercept != 0.0:
        out += np.float32(intercept)


def rescale_of(ds: Dataset) -> tuple[float, float]:
    """Slope and intercept; what is absent, invalid or zero counts as 1 and 0."""
    return number(ds, "RescaleSlope") or 1.0, number(ds, "RescaleIntercept") or 0.0


def _mark_padding(
    plane: NDArray[np.float32], stored: NDArray[np.integer[Any]], hidden: tuple[int, int]
) -> int:
    """Set padding (PS3.3 C.7.5.1.1.2) to NaN in `plane`; the number of its pixels."""
    is_hidden = (stored >= hidden[0]) & (stored <= hidden[1])
    plane[is_hidden] = np.nan
    return int(np.count_nonzero(is_hidden))


def padding_of(stored: NDArray[np.integer[Any]], ds: Dataset, modality: str) -> NDArray[np.bool_]:
    """Which stored values of one slice are padding (PS3.3 C.7.5.1.1.2)."""
    hidden = _padding(ds, pixel_format(ds), modality)
    if hidden is None:
        return np.zeros(stored.shape, np.bool_)
    return np.asarray((stored >= hidden[0]) & (stored <= hidden[1]))


def _padding(ds: Dataset, layout: PixelFormat, modality: str) -> tuple[int, int] | None:
    """The lowest and highest stored value that are padding, where the header is to be believed."""
    limits = _padding_limits(ds, layout)
    if limits is None:
        return None
    low, high = limits
    if low != high:
        slope, intercept = rescale_of(ds)
        ends = sorted((low * slope + intercept, high * slope + intercept))
        outside = ends[1] < _TISSUE_HOUNSFIELD[0] or ends[0] > _TISSUE_HOUNSFIELD[1]
        if modality != "CT" or not outside:
            return None
    return low, high


def _padding_limits(ds: Dataset, layout: PixelFormat) -> tuple[int, int] | None:
    """Both ends as stored values. The VR of the value is often wrong: 63536 means -2000."""
    value = number(ds, "PixelPaddingValue")
    if value is None:
        return None
    other = number(ds, "PixelPaddingRangeLimit")
    ends = [int(value), int(value if other is None else other)]
    if layout.signed:
        ends = [end - (1 << 16) if end > layout.highest else end for end in ends]
    else:
        ends = [end + (1 << 16) if end < 0 else end for end in ends]
    return min(ends), max(ends)


def _fill_padding(array: NDArray[np.float32], padded: int, air: float) -> tuple[str, ...]:
    """Padding becomes air, or the lowest real value where that is lower: never tissue."""
    if not padded:
        return ()
    lowest = air if padded == array.size else float(np.nanmin(array))
    np.nan_to_num(array, copy=False, nan=min(air, lowest))
    return (f"{padded / array.size:.1%} of the pixels are padding and count as air",)


def _may_be_inverted(source: SourceStack) -> bool:
    return text(source.images[0].ds, "PhotometricInterpretation") == "MONOCHROME1"


def _invert_if_bright_air(array: NDArray[np.float32], source: SourceStack) -> tuple[str, ...]:
    """MONOCHROME1 tells how to display values, not what they mean: real Hounsfield units stay,
    but pixels that a film reader stored inverted, with bright air, are turned over."""
    corners = array[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    with np.errstate(all="ignore"):
        air = float(np.nanmedian(corners)) if np.isfinite(corners).any() else np.inf
        middle = (float(np.nanmin(array)) + float(np.nanmax(array))) / 2
    if air < middle:
        return ()
    for index, ds in enumerate(source.datasets):
        layout, (slope, intercept) = pixel_format(ds), rescale_of(ds)
        twice_middle = slope * (layout.lowest + layout.highest) + 2 * intercept
        np.subtract(np.float32(twice_middle), array[index], out=array[index])
    return ("MONOCHROME1 with bright air: the values were inverted",)
