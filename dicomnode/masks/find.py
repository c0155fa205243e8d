"""What a data set holds: image files, DICOM series, and where each belongs in it.

BIDS folders (`sub-*`, `ses-*`) name subject and session, whatever lies above `sub-*` names the
data set. Without them a file is a subject of its own, named by its path. Other folders of a DICOM
series and its header may name a person, so nothing is named by them: a hash of its study stands in
for the subject, hashes of study and series for its path.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NamedTuple

from pydicom.config import disable_value_validation

from dicomnode.dicom.header import PARSE_ERRORS, read_data_set, reason, text
from dicomnode.dicom.itk import ITK_SUFFIXES
from dicomnode.masks.files import MADE_SUFFIXES

Kind = Literal["nifti", "itk", "dicom"]

NIFTI_SUFFIXES = (".nii.gz", ".nii")
DICOM_SUFFIXES = (".dcm", ".ima")
DEFAULT_SESSION = "ses-DEFAULT"
# BIDS derivatives of images that are none; last part of the name.
NO_IMAGES = frozenset({"mask", "dseg", "probseg", "defacemask", "labels", "seg"})


@dataclass(frozen=True)
class Place:
    """Where an image belongs; each part is fit for a file name."""

    dataset: str
    subject: str
    session: str


@dataclass(frozen=True)
class Item:
    """One image file or one DICOM series.

    `key`: relative path of its masks, without suffix. `source`: what the report calls it.
    """

    key: str
    source: str
    kind: Kind
    paths: tuple[Path, ...]
    place: Place
    name: str

    @property
    def fingerprint(self) -> str:
        """Changes when a file does (name, size, time); raises `OSError` where one is gone."""
        whole = hashlib.sha256()
        for path in self.paths:
            status = path.stat()
            whole.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return whole.hexdigest()


@dataclass
class Found:
    """`unreadable`: path and reason; `others`: how many files are no images by name and content."""

    items: list[Item] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    others: int = 0


def find(
    folder: Path,
    exclude: Sequence[str] = (),
    advance: Callable[[], None] = lambda: None,
) -> Found:
    """Sort every file under `folder`; `exclude`: patterns of relative paths that are left out."""
    found = Found()
    series: dict[str, list[Path]] = {}
    studies: dict[str, str] = {}
    for path in _files(folder, found):
        advance()
        relative = path.relative_to(folder)
        if _is_ours(path) or any(fnmatch(relative.as_posix(), pattern) for pattern in exclude):
            continue
        kind = _kind(path)
        if kind is None:
            found.others += 1
        elif kind == "dicom":
            _add_to_series(path, series, studies, found)
        elif stem_of(path).split("_")[-1] in NO_IMAGES:
            found.unreadable.append((path, "a mask or label map by its name, no image"))
        else:
            found.items.append(_file_item(folder, path, kind))
    for uid, paths in series.items():
        found.items.append(_series_item(folder, uid, studies[uid], paths))
    _keep_one_of_a_name(found)
    return found


def _keep_one_of_a_name(found: Found) -> None:
    """Two files whose masks would have one name (`a.nii` and `a_nii.nii.gz`): the second goes."""
    first: dict[str, Item] = {}
    for item in found.items:
        if first.setdefault(item.key, item) is not item:
            reason = "another file's masks have the same name: rename one of them"
            found.unreadable.append((item.paths[0], reason))
    found.items = list(first.values())


def stem_of(path: Path) -> str:
    name = path.name
    for suffix in (*NIFTI_SUFFIXES, *ITK_SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def fit(text_: str) -> str:
    """A part of a path: no separators, nothing that `__` or a dot at the front could mean."""
    return re.sub(r"_{2,}", "_", re.sub(r"[^\w.-]", "_", text_)).lstrip(".") or "unnamed"


def _files(folder: Path, found: Found) -> Iterator[Path]:
    def keep(error: OSError) -> None:
        found.unreadable.append((Path(error.filename), f"folder not searched: {error.strerror}"))

    for base, folders, names in os.walk(folder, onerror=keep):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(base, name)
            if not name.startswith(".") and (path.is_file() or path.is_symlink()):
                yield path


def _is_ours(path: Path) -> bool:
    return path.name.endswith(MADE_SUFFIXES)


def _kind(path: Path) -> Kind | None:
    name = path.name.lower()
    if name.endswith(NIFTI_SUFFIXES):
        return "nifti"
    if name.endswith(ITK_SUFFIXES):
        return "itk"
    return "dicom" if name.endswith(DICOM_SUFFIXES) or _has_prefix(path) else None


def _has_prefix(path: Path) -> bool:
    """PS3.10 7.1: the four letters that a DICOM file has after its preamble."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


@disable_value_validation()
def _add_to_series(
    path: Path, series: dict[str, list[Path]], studies: dict[str, str], found: Found
) -> None:
    try:
        header = read_data_set(path)
    except PARSE_ERRORS as error:
        found.unreadable.append((path, f"no DICOM file that can be read: {reason(error)}"))
        return
    uid = text(header, "SeriesInstanceUID") or ""
    series.setdefault(uid, []).append(path)
    studies.setdefault(uid, text(header, "StudyInstanceUID") or "")


def _file_item(folder: Path, path: Path, kind: Kind) -> Item:
    relative = path.relative_to(folder)
    stem, suffix = stem_of(path), path.name[len(stem_of(path)) :]
    # `a.nii` and `a.nrrd` beside `a.nii.gz` need masks of their own.
    own = stem if suffix == ".nii.gz" else f"{stem}{suffix.replace('.', '_')}"
    key = (relative.parent / own).as_posix()
    bids = _bids(relative.parent.parts)
    subject = fit("_".join((*relative.parent.parts, stem)))
    place = bids.place(folder) if bids else Place(fit(folder.name), subject, DEFAULT_SESSION)
    return Item(key, relative.as_posix(), kind, (path,), place, path.name)


def _series_item(folder: Path, uid: str, study: str, paths: list[Path]) -> Item:
    subject, name = f"study-{_short(study)}", f"series-{_short(uid)}"
    bids = _bids(paths[0].relative_to(folder).parent.parts)
    place = bids.place(folder) if bids else Place(fit(folder.name), subject, DEFAULT_SESSION)
    key = "/".join((*(bids.folders if bids else (subject,)), name))
    return Item(key, uid or key, "dicom", tuple(paths), place, f"{name}.nii.gz")


class _Bids(NamedTuple):
    """The folders that BIDS knows, of those between the data set's and a file."""

    above: tuple[str, ...]
    subject: str
    session: tuple[str, ...]  # one or none

    @property
    def folders(self) -> tuple[str, ...]:
        return (*self.above, self.subject, *self.session)

    def place(self, folder: Path) -> Place:
        return Place(
            dataset=fit("_".join(self.above) if self.above else folder.name),
            subject=fit(self.subject),
            session=fit(self.session[0]) if self.session else DEFAULT_SESSION,
        )


def _bids(parts: tuple[str, ...]) -> _Bids | None:
    subjects = [index for index, part in enumerate(parts) if part.startswith("sub-")]
    if not subjects:
        return None
    above, below = parts[: subjects[0]], parts[subjects[0] + 1 :]
    sessions = tuple(part for part in below if part.startswith("ses-"))
    return _Bids(above, parts[subjects[0]], sessions[:1])


def _short(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest()[:12]
