"""Signed distances of simple solids, for drawing anatomy (pure numpy).

Points are three float32 arrays (x right, y anterior, z superior) in millimetres; every function
returns a float32 array of their shape: negative inside, positive outside, about millimetres.
The bounds of the ellipsoid and the polynomial smooth minimum are the well-known ones of
I. Quilez, "Distance functions" and "Smooth minimum".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Points:
    """Where the solids are evaluated: broadcastable coordinates in millimetres."""

    x: Field
    y: Field
    z: Field


Solid = Callable[[Points], Field]


def ellipsoid(centre: Triple, radii: Triple) -> Solid:
    def distance(p: Points) -> Field:
        u, v, w = ((q - c) / r for q, c, r in zip((p.x, p.y, p.z), centre, radii, strict=True))
        near = np.sqrt(u * u + v * v + w * w)
        slope = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2)
        out: Field = (near * (near - 1.0) / np.maximum(slope, 1e-6)).astype(np.float32)
        return out

    return distance


def capsule(start: Triple, end: Triple, radius_start: float, radius_end: float) -> Solid:
    """A rod with round ends whose radius runs evenly from one end to the other."""

    def distance(p: Points) -> Field:
        a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
        along = b - a
        q = (p.x - a[0], p.y - a[1], p.z - a[2])
        t = (q[0] * along[0] + q[1] * along[1] + q[2] * along[2]) / float(along @ along)
        t = np.clip(t, 0.0, 1.0)
        off = [c - t * d for c, d in zip(q, along, strict=True)]
        radius = radius_start + t * (radius_end - radius_start)
        out: Field = (np.sqrt(sum(o * o for o in off)) - radius).astype(np.float32)
        return out

    return distance


def mirrored(solid: Solid) -> Solid:
    """The solid and its mirror image in the plane x = 0 (draw the one with x > 0)."""
    return lambda p: solid(Points(np.abs(p.x), p.y, p.z))


def blend(p: Points, solids: list[Solid], softness_mm: float) -> Field:
    """Union of the solids, with the creases filled over `softness_mm`."""

    def smooth(a: Field, b: Field) -> Field:
        h = np.maximum(softness_mm - np.abs(a - b), 0.0) / softness_mm
        out: Field = np.minimum(a, b) - h * h * (softness_mm / 4.0)
        return out

    return reduce(smooth, (solid(p) for solid in solids))
