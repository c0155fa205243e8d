"""What stands where the face was: the scanner's own background, noise and all.

Published scripts took the 10th percentile of the whole volume, which is tissue where little air is
in view and padding (-2048, -3024) where a scanner writes that. Here air is found first: outside of
the body, near it (so inside the scan circle), and of values that air has. Its stored values are
repeated as they lie in the slice, so neighbours stay neighbours, and no rescaling is involved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.defacing.grid import (
    Flags,
    Triple,
    as_blocks,
    coarse_mm,
    distance_mm,
    in_blocks,
    step_of,
)
from dicomnode.defacing.slices import Line, Slices, Stored
from dicomnode.inference.skin import skin_level

AIR_HU = (-1060.0, -900.0)
FALLBACK_HU = -1000.0
FALLBACK_NOISE_HU = 10.0
# Millimetres from the body: nearer lies what the edge blurs, farther may be masked by the scanner.
AIR_REACH_MM = (6.0, 60.0)
AIR_GRID_MM = 3.0
# Fewer air pixels than this tell nothing of a slice's noise.
LEAST_PIXELS = 400
BLUR_MM = 12.0


def plain_air(
    array: npt.NDArray[np.float32], tissue: Flags, spacing_mm: Triple, modality: str
) -> Flags:
    """Voxels that are certainly air inside the field that the scanner saw."""
    step = step_of(spacing_mm, AIR_GRID_MM)
    body = in_blocks(tissue, step)
    away_mm = distance_mm(~body, coarse_mm(spacing_mm, step))
    near = (away_mm >= AIR_REACH_MM[0]) & (away_mm <= AIR_REACH_MM[1])
    near = as_blocks(near, tissue.shape, step) & ~tissue
    if modality == "CT":
        return np.asarray(near & (array >= AIR_HU[0]) & (array <= AIR_HU[1]))
    return np.asarray(near & (array < skin_level(array, modality)))


def fill_background(
    planes: Sequence[Stored],
    removed: Flags,
    air: Flags,
    source: Slices,
    *,
    seed: int,
    constant: bool = False,
) -> None:
    """Write background into `planes`, copies of the stored values of `source`, where `removed`.

    `air` must hold no padding. `seed` decides where in the background a slice begins: the same
    series is filled alike. A slice without enough air takes that of the slices with its rescale.
    """
    rng = np.random.default_rng(seed)
    shared = _shared_pools(planes, air, source.lines)
    for index, plane in enumerate(planes):
        hidden = removed[index]
        count = int(np.count_nonzero(hidden))
        if not count:
            continue
        pool = plane[air[index] & ~hidden]
        if pool.size < LEAST_PIXELS:
            pool = shared.get(source.lines[index], pool[:0])
        if pool.size < LEAST_PIXELS:
            pool = _drawn(rng, source, index)
        if constant:
            plane[hidden] = np.median(pool).astype(plane.dtype)
            continue
        start = int(rng.integers(pool.size))
        plane[hidden] = np.take(pool, np.arange(start, start + count), mode="wrap")


def fill_blurred(planes: Sequence[Stored], removed: Flags, source: Slices) -> None:
    """Write the blurred volume into `planes` where `removed`."""
    geometry = source.volume.geometry
    spacing_mm = (geometry.slice_spacing_mm, *geometry.pixel_spacing_mm)
    box = ndimage.find_objects(removed.view(np.uint8))[0]
    more = [int(3 * BLUR_MM / mm) for mm in spacing_mm]
    around = tuple(
        slice(max(0, side.start - n), side.stop + n) for side, n in zip(box, more, strict=True)
    )
    sigmas = [BLUR_MM / mm for mm in spacing_mm]
    smooth = ndimage.gaussian_filter(source.volume.array[around], sigmas)
    first = around[0].start
    for offset, plane in enumerate(smooth):
        index = first + offset
        hidden = removed[index][around[1:]]
        target = planes[index][around[1:]]
        line, limits = source.lines[index], source.limits[index]
        target[hidden] = line.stored(plane[hidden], target, limits)


def _shared_pools(
    stored: Sequence[Stored], air: Flags, lines: Sequence[Line]
) -> dict[Line, Stored]:
    """Background of all slices with one rescale, thinned to what a pool needs."""
    pools: dict[Line, list[Stored]] = {}
    for index, (plane, line) in enumerate(zip(stored, lines, strict=True)):
        found = plane[air[index]]
        pools.setdefault(line, []).append(found[:LEAST_PIXELS])
    return {line: np.concatenate(found) for line, found in pools.items()}


def _drawn(rng: np.random.Generator, source: Slices, index: int) -> Stored:
    """No air is in view: air as it would be in CT, the darkest values of the slice in MR."""
    plane = source.stored[index]
    if source.volume.modality == "CT":
        values = rng.normal(FALLBACK_HU, FALLBACK_NOISE_HU, 4 * LEAST_PIXELS)
        return source.lines[index].stored(values, plane, source.limits[index])
    darkest = plane <= np.percentile(plane, 1.0)
    return np.asarray(plane[darkest])
