"""The pieces of a mask, whose voxels touch by a face.

A mask of anatomy is a few hundred thousand runs of marked voxels along x, and a hundred times as
many voxels; so runs are joined instead of voxels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Mask = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

# Of noise, where runs would take more memory than a label for each voxel.
_MOST_RUNS_A_VOXEL = 0.04
_PLANES_AT_ONCE = 32


def largest_piece_voxels(mask: Mask) -> int:
    """How many voxels the largest piece has; 0 where nothing is marked."""
    found: list[Places] = []
    left = int(mask.size * _MOST_RUNS_A_VOXEL)
    for number, plane in enumerate(mask):
        found.append(_changes(plane, number))
        left -= len(found[-1]) // 2
        if left < 0:
            return _by_voxel(mask)
    begins, ends = np.concatenate(found).reshape(-1, 2).T
    if not len(begins):
        return 0
    rows, columns = mask.shape[1] + 1, mask.shape[2] + 1
    pieces = _joined(np.ascontiguousarray(begins), np.ascontiguousarray(ends), columns, rows)
    return int(np.bincount(pieces, weights=ends - begins).max())


def _changes(plane: Mask, number: int) -> Places:
    """Where runs begin and end, in turn, in the flat volume. An unmarked row and column are added
    to each plane: no run goes on in the next row, no row touches the next plane's first one."""
    rows, columns = plane.shape
    flags = np.zeros((rows + 1, columns + 1), np.bool_)
    np.not_equal(plane, 0, out=flags[:rows, :columns])
    flat = flags.ravel()
    within = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[0]:
        within = np.concatenate([[0], within])
    return within + number * flat.size


def _joined(begins: Places, ends: Places, columns: int, rows: int) -> npt.NDArray[np.int32]:
    """The number of the piece that each run is in: runs touch those of the next row and of the
    next plane that they overlap."""
    pairs = [_overlaps(begins, ends, away) for away in (columns, rows * columns)]
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    touch = coo_array((np.ones(len(one), np.bool_), (one, other)), (len(begins), len(begins)))
    return np.asarray(connected_components(touch, directed=False)[1])


def _overlaps(begins: Places, ends: Places, away: int) -> tuple[Places, Places]:
    """Pairs of a run and one that overlaps it when it is moved by `away` places."""
    first = np.searchsorted(ends, begins + away, "right")
    counts = np.searchsorted(begins, ends + away, "left") - first
    one = np.repeat(np.arange(len(begins)), counts)
    within = np.arange(len(one)) - np.repeat(np.cumsum(counts) - counts, counts)
    return one, first[one] + within


def _by_voxel(mask: Mask) -> int:
    labels, count = ndimage.label(mask)
    sizes = np.zeros(count + 1, np.intp)
    for start in range(0, len(labels), _PLANES_AT_ONCE):  # counting makes wider copies
        part = labels[start : start + _PLANES_AT_ONCE].ravel()
        sizes += np.bincount(part, minlength=count + 1)
    return int(sizes[1:].max(initial=0))
