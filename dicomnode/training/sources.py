"""What a training set is made from: real scans with reference masks, and drawn anatomy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import cast

import numpy as np

from dicomnode.errors import DicomnodeError
from dicomnode.training.drawn import Mask, Volume, draw_head
from dicomnode.training.drawn_body import draw_body
from dicomnode.training.find import Found, Kind, Skipped, Skips, find, person_of
from dicomnode.training.grid import Grid, sample
from dicomnode.training.read import Scan, read_scans
from dicomnode.training.reference import Template, foreground_of, read_template, register
from dicomnode.training.synthesis.subject import Subject, depth_of
from dicomnode.training.template import TEMPLATE_NAME
from dicomnode.training.tissue import NOT_ANATOMY

Progress = Callable[[str, int, int], None]
SPACING_MM = (2.5, 2.5, 2.5)
DRAWN_SPACING_MM = 2.5
# A scan has more values than this; masks and label maps have fewer.
MOST_LABELS = 40
# LPS to the template's own axes: x right, y anterior, z superior.
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def subject_of(
    scan: Scan,
    person: str,
    kind: Kind,
    template: Template,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> Subject:
    """A scan on a grid of its own directions, with its reference masks.

    Raises `DicomnodeError` where it is none that can be learned from.
    """
    if len(np.unique(scan.array[::3, ::3, ::3])) <= MOST_LABELS:
        raise DicomnodeError("a mask or label map by its values, no image")
    shape = cast(tuple[int, int, int], scan.array.shape)
    grid = Grid(shape, scan.affine).at_spacing(spacing_mm)
    array = sample(scan.array, scan.affine, grid, np.eye(4), float(scan.array.min()))
    body = foreground_of(array, grid.spacing_mm, scan.modality)
    if not body.any():
        raise DicomnodeError("nothing in it stands out from the background")
    to_template = None
    if kind in ("head", "defaced"):
        found = register(template, array, grid.affine)
        to_template = RAS_FROM_LPS @ found @ grid.affine
    return Subject(
        name=scan.name,
        person=person,
        kind=kind,
        modality=scan.modality,
        spacing_mm=grid.spacing_mm,
        depth_mm=depth_of(body, grid.spacing_mm),
        image=array if scan.modality == "CT" else in_tissue_units(array, body),
        to_template=to_template,
    )


def in_tissue_units(array: Volume, body: Mask) -> Volume:
    """MR with its darkest air at 0 and its brightest tissue at about 1."""
    low = min(
        float(np.percentile(array, 0.1)), float(np.median(array[~body])) if (~body).any() else 0
    )
    high = float(np.percentile(array[body], 99.5))
    return cast(Volume, ((array - low) / max(high - low, 1e-6)).clip(0, 4).astype(np.float32))


@dataclass(frozen=True)
class RealSubjects:
    """What was made of the sources, the template as one more head at the end, and what not."""

    subjects: list[Subject]
    skipped: list[Skipped]


def real_subjects(
    sources: Sequence[Path],
    template_folder: Path,
    progress: Progress,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> RealSubjects:
    """Every usable scan of the sources. No two subjects have one name."""
    template = read_template(template_folder)
    skips = Skips()
    name = TEMPLATE_NAME.split(".")[0]
    itself = Found((template_folder / TEMPLATE_NAME,), name, "head", name, template_folder)
    everything = [*find(sources, skips), itself]
    subjects: list[Subject] = []
    taken: set[str] = set()
    for done, found in enumerate(everything):
        progress("reading", done, len(everything))
        person = found.person
        for scan in read_scans(found, skips):
            unique = _unique(scan.name, taken)
            person = person or unique
            with skips.guard(scan.file):
                named = replace(scan, name=unique)
                subjects.append(
                    subject_of(named, person_of(person), found.kind, template, spacing_mm)
                )
                taken.add(unique)
    progress("reading", len(everything), len(everything))
    return RealSubjects(subjects, skips.items)


def _unique(name: str, taken: Collection[str]) -> str:
    """Subjects are files of one folder: scans of one name must not overwrite each other."""
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(free for free in names if free not in taken)


def drawn_head_subject(seed: int) -> Subject:
    head = draw_head(seed, "CT", spacing_mm=DRAWN_SPACING_MM, tilt_degrees=6.0)
    sides = (DRAWN_SPACING_MM, DRAWN_SPACING_MM, DRAWN_SPACING_MM)
    return Subject(
        name=f"drawn_head_{seed}",
        person=f"drawn_head_{seed}",
        kind="drawn_head",
        modality="CT",
        spacing_mm=sides,
        depth_mm=depth_of(head.foreground, sides),
        tissue=head.labels,
        to_template=head.to_template,
    )


def drawn_body_subject(seed: int) -> Subject:
    body = draw_body(seed)
    solid = ~np.isin(body.labels, [int(t) for t in NOT_ANATOMY])
    side = float(np.linalg.norm(body.affine[:3, 0]))
    return Subject(
        name=f"drawn_body_{seed}",
        person=f"drawn_body_{seed}",
        kind="drawn_body",
        modality="CT",
        spacing_mm=(side, side, side),
        depth_mm=depth_of(solid, (side, side, side)),
        tissue=body.labels,
    )
