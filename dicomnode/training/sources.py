"""What a training set is made from: real heads with reference masks, bodies, and drawn anatomy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from dicomnode.training import anatomy
from dicomnode.training.drawn import Affine, Labels, Mask, Volume, draw_head
from dicomnode.training.drawn_body import draw_body
from dicomnode.training.grid import Grid, sample
from dicomnode.training.read import Scan, read_scans
from dicomnode.training.reference import (
    Template,
    face_of,
    foreground_of,
    read_template,
    register,
)
from dicomnode.training.tissue import Modality

Kind = Literal["head", "body", "drawn_head", "drawn_body", "defaced"]
Progress = Callable[[str, int, int], None]
SOURCE_SPACING_MM = (2.0, 2.0, 2.0)

# Folder of a source -> what its scans are. Folders that are not named here are not used.
KIND_OF_FOLDER: dict[str, Kind] = {
    "heads_mr": "head",
    "heads_ct": "head",
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


@dataclass(frozen=True)
class Source:
    """A scan with its reference masks, about 2 mm, HPL axes, `affine` to LPS mm.

    Real ones have an `array`; drawn ones have `labels` instead and get their contrast later.
    """

    name: str
    person: str
    kind: Kind
    modality: Modality
    affine: Affine
    foreground: Mask
    face: Mask
    array: Volume | None = None
    labels: Labels | None = None


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


def _source_of(scan: Scan, kind: Kind, template: Template) -> Source:
    shape = cast(tuple[int, int, int], scan.array.shape)
    grid = Grid(shape, scan.affine).at_spacing(SOURCE_SPACING_MM)
    array = sample(scan.array, scan.affine, grid, np.eye(4), float(scan.array.min()))
    body = foreground_of(array, grid.spacing_mm, scan.modality)
    face = np.zeros(body.shape, bool)
    if kind == "head":
        face = face_of(body, grid.affine, register(template, array, grid.affine), template)
    return Source(
        scan.name, person_of(scan.name), kind, scan.modality, grid.affine, body, face, array
    )


def real_sources(paths: Sequence[Path], progress: Progress) -> list[Source]:
    """Every usable scan under the paths, and the template itself as one more head."""
    folder = template_folder(paths)
    template = read_template(folder)
    files: list[tuple[Path, Kind]] = [*_files(paths), (folder / "avg152T1.nii.gz", "head")]
    out = []
    for done, (file, kind) in enumerate(files):
        progress("reading", done, len(files))
        out += [_source_of(scan, kind, template) for scan in read_scans(file)]
    progress("reading", len(files), len(files))
    return out


def drawn_head_source(seed: int) -> Source:
    head = draw_head(seed, "CT", spacing_mm=2.5, tilt_degrees=28.0)
    name = f"drawn_head_{seed}"
    return Source(
        name, name, "drawn_head", "CT", head.affine, head.foreground, head.face, labels=head.labels
    )


def drawn_body_source(seed: int) -> Source:
    body = draw_body(seed)
    name, solid = f"drawn_body_{seed}", anatomy.foreground(body.labels)
    nothing = np.zeros(solid.shape, bool)
    return Source(name, name, "drawn_body", "CT", body.affine, solid, nothing, labels=body.labels)
