"""Which scans the sources hold, what each shows, and of whom it is.

A folder that holds folders named as in `KIND_OF_FOLDER` counts by them only; so does a folder, or
the parent of a file, that has such a name itself. Every other folder holds heads. The folder
directly below, or `sub-*` (BIDS) wherever it stands, is a person; a file that lies in none is a
person of its own, and what lies loose of DICOM series is of one person.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from dicomnode.dicom.header import reason
from dicomnode.errors import DicomnodeError
from dicomnode.training.template import FOLDER_NAME, TEMPLATE_FILES

log = logging.getLogger("dicomnode.training")

Kind = Literal["head", "body", "drawn_head", "drawn_body", "defaced"]

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
NIFTI_SUFFIXES = (".nii.gz", ".nii")
ARCHIVE_SUFFIXES = (".tar.xz", ".tar.gz", ".tar.bz2", ".tar", ".txz", ".tgz")


@dataclass(frozen=True)
class Found:
    """A NIfTI file, an archive, or files that may be DICOM objects: all of a person.

    `name`: what scans are named by. `person`: None where it is named as its first scan. `root`:
    what files are named relative to.
    """

    paths: tuple[Path, ...]
    name: str
    kind: Kind
    person: str | None
    root: Path

    @property
    def is_nifti(self) -> bool:
        return self.paths[0].name.lower().endswith(NIFTI_SUFFIXES)

    @property
    def is_archive(self) -> bool:
        return self.paths[0].name.lower().endswith(ARCHIVE_SUFFIXES)

    def label(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class Skipped:
    """A file, or the first one of a series, that no subject is made of."""

    file: str
    reason: str


@dataclass
class Skips:
    """Everything that is skipped: one bad scan must not cost the others."""

    items: list[Skipped] = field(default_factory=list)

    def add(self, file: str, why: str) -> None:
        self.items.append(Skipped(file, why))

    @contextmanager
    def guard(self, file: str) -> Iterator[None]:
        """Messages of other libraries may quote a header; where it was raised goes to the log."""
        try:
            yield
        except DicomnodeError as error:
            self.add(file, str(error))
        except Exception as error:  # noqa: BLE001 - the edge for one scan: listed, and on
            where = traceback.format_tb(error.__traceback__)
            log.debug("skipped", extra={"error": type(error).__name__, "where": where})
            self.add(file, reason(error))


def person_of(name: str) -> str:
    for prefix, person in PERSON_OF_PREFIX.items():
        if name.startswith(prefix):
            return person
    return name


def stem_of(path: Path) -> str:
    for suffix in (*NIFTI_SUFFIXES, *ARCHIVE_SUFFIXES):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def find(sources: Sequence[Path], skips: Skips) -> list[Found]:
    """What the sources hold, in a fixed order and each file once; nothing is opened yet."""
    found: dict[tuple[Path, ...], Found] = {}
    for source in (path.absolute() for path in sources):
        inside: list[Iterable[Found]]
        if source.is_dir():
            inside = [_in_folder(*folder, source) for folder in _folders(source, skips)]
        else:
            kind = KIND_OF_FOLDER.get(source.parent.name, "head")
            inside = [[Found((source,), stem_of(source), kind, None, source.parent)]]
        for one in chain.from_iterable(inside):
            found.setdefault(one.paths, one)
    return list(found.values())


def _folders(source: Path, skips: Skips) -> list[tuple[Path, Kind]]:
    inside = sorted(path for path in source.iterdir() if not path.name.startswith("."))
    named = [path for path in inside if path.is_dir() and path.name in KIND_OF_FOLDER]
    if source.name in KIND_OF_FOLDER or not named:
        return [(source, KIND_OF_FOLDER.get(source.name, "head"))]
    for path in inside:
        if path not in named and path.name != FOLDER_NAME:
            skips.add(path.name, f"beside {named[0].name}, only folders of such names are read")
    return [(path, KIND_OF_FOLDER[path.name]) for path in named]


def _in_folder(folder: Path, kind: Kind, root: Path) -> Iterator[Found]:
    """Images of a format of their own first, then what is left of each person."""
    others: dict[str | None, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder).parts
        if path.is_dir() or path.name in TEMPLATE_FILES or any(p.startswith(".") for p in within):
            continue
        person = _person(folder, within[:-1])
        if path.name.lower().endswith(NIFTI_SUFFIXES + ARCHIVE_SUFFIXES):
            stem = stem_of(path)
            named = person is None or stem.startswith(person)
            yield Found((path,), stem if named else f"{person}_{stem}", kind, person, root)
        else:
            others.setdefault(person, []).append(path)
    for person, paths in others.items():
        yield Found(tuple(paths), person or folder.name, kind, person or folder.name, root)


def _person(folder: Path, below: Sequence[str]) -> str | None:
    subjects = (name for name in (folder.name, *below) if name.startswith("sub-"))
    return next(subjects, below[0] if below else None)
