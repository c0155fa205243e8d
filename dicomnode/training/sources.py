"""What a training set is made from: real scans with reference masks, and drawn anatomy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np

from dicomnode.training.drawn import Mask, Volume, draw_head
from dicomnode.training.drawn_body import draw_body
from dicomnode.training.grid import Grid, sample
from dicomnode.training.read import Scan, read_scans
from dicomnode.training.reference import Template, foreground_of, read_template, register
from dicomnode.training.synthesis.subject import Subject, depth_of
from dicomnode.training.tissue import NOT_ANATOMY

Kind = Literal["head", "body", "drawn_head", "drawn_body", "defaced"]
Progress = Callable[[str, int, int], None]
SPACING_MM = (2.5, 2.5, 2.5)
DRAWN_SPACING_MM = 2.5
# LPS to the template's own axes: x right, y anterior, z superior.
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Folder of a source -> what its scans are. A folder that is given itself holds heads.
KIND_OF_FOLDER: dict[str, Kind] = {
    "heads_mr": "head",
    "heads_ct": "head",
    "heads": "head",
    "nonhead": "body",
    "heads_defaced": "defaced",
}
# File name prefix -> person, where the name of the file isn't that of the person.
PERSON_OF_PREFIX = {
    "sag_anon": "sag_anon",
    "uih_umr770": "uih_A",
    "decubitus": "decubitus",
    "t1_head_ext2": "t1_head_ext2",
    "avg152T1": "avg152T1",
}


def person_of(name: str) -> str:
    for prefix, person in PERSON_OF_PREFIX.items():
        if name.startswith(prefix):
            return person
    return name


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, Kind]]:
    for path in paths:
        folders = [path, *path.iterdir()] if path.is_dir() else [path.parent]
        for folder in sorted(folders):
            kind = KIND_OF_FOLDER.get(folder.name)
            if kind is not None:
                for file in sorted(folder.iterdir() if path.is_dir() else [path]):
                    yield file, kind


def template_folder(paths: Sequence[Path]) -> Path:
    """Where avg152T1 and its masks lie, among the sources."""
    for path in paths:
        for folder in (path, path / "templates_masks"):
            if (folder / "avg152T1.nii.gz").is_file():
                return folder
    raise FileNotFoundError("no folder templates_masks with avg152T1.nii.gz among the sources")


def subject_of(
    scan: Scan,
    kind: Kind,
    template: Template,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> Subject:
    """A scan on a grid of its own directions, with its reference masks."""
    shape = cast(tuple[int, int, int], scan.array.shape)
    grid = Grid(shape, scan.affine).at_spacing(spacing_mm)
    array = sample(scan.array, scan.affine, grid, np.eye(4), float(scan.array.min()))
    body = foreground_of(array, grid.spacing_mm, scan.modality)
    to_template = None
    if kind in ("head", "defaced"):
        found = register(template, array, grid.affine)
        to_template = RAS_FROM_LPS @ found @ grid.affine
    return Subject(
        name=scan.name,
        person=person_of(scan.name),
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


def real_subjects(
    paths: Sequence[Path],
    progress: Progress,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> list[Subject]:
    """Every usable scan under the paths, and the template itself as one more head."""
    folder = template_folder(paths)
    template = read_template(folder)
    files: list[tuple[Path, Kind]] = [*_files(paths), (folder / "avg152T1.nii.gz", "head")]
    out = []
    for done, (file, kind) in enumerate(files):
        progress("reading", done, len(files))
        out += [subject_of(scan, kind, template, spacing_mm) for scan in read_scans(file)]
    progress("reading", len(files), len(files))
    return out


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
