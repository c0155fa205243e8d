"""The files of one image's masks: their names, how they are written, when they count as made.

A mask is written beside its place and renamed, the record last: what an interrupted run left has
no record and is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from dicomnode.domain import ModelIdentity, SegmentKind
from dicomnode.errors import ConfigurationError

ANATOMY_SUFFIX = "__anatomy_mask.nii.gz"
ANONYMIZATION_SUFFIX = "__anonymization_mask.nii.gz"
IMAGE_SUFFIX = "__image.nii.gz"  # of what nnssl can't read, such as a DICOM series
RECORD_SUFFIX = "__masks.json"
MADE_SUFFIXES = (ANATOMY_SUFFIX, ANONYMIZATION_SUFFIX, IMAGE_SUFFIX, RECORD_SUFFIX)


@dataclass(frozen=True)
class Made:
    """Image and masks of one volume; millilitres of either mask.

    Paths are relative to the output folder, so that it can be copied or moved; `image` is empty
    where it is the data set's own file.
    """

    name: str
    image: str
    anatomy_mask: str
    anonymization_mask: str
    modality: str
    anatomy_ml: float
    anonymised_ml: float
    networks: tuple[ModelIdentity, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def has_anatomy(self) -> bool:
        """nnssl draws its patches in anatomy, so it can learn nothing from an image without."""
        return self.anatomy_ml > 0


@dataclass(frozen=True)
class Record:
    """What was made of which files, and what could not be made of them.

    `examiner`: digest of all that decides a mask, `fingerprint`: of the files.
    """

    examiner: str
    fingerprint: str
    volumes: tuple[Made, ...]
    set_aside: tuple[str, ...] = ()


def require_folder(out: Path) -> None:
    """Make the output folder; raises `ConfigurationError` where nothing can be written to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except (FileExistsError, NotADirectoryError):
        raise ConfigurationError(
            f"--out {out}: it, or what it lies in, is a file: name a folder"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"--out {out}: can't be written to: {error.strerror}") from None


def record_path(out: Path, key: str) -> Path:
    return out / f"{key}{RECORD_SUFFIX}"


def write_record(path: Path, record: Record) -> None:
    text = json.dumps(asdict(record), indent=1)
    atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def kept(out: Path, key: str, examiner: str, fingerprint: str) -> Record | None:
    """The record of finished masks by the same networks of the same files, else None."""
    try:
        entry = json.loads(record_path(out, key).read_text(encoding="utf-8"))
        volumes = tuple(map(_made, entry.pop("volumes")))
        record = Record(volumes=volumes, set_aside=tuple(entry.pop("set_aside")), **entry)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    same = (record.examiner, record.fingerprint) == (examiner, fingerprint)
    return record if same and _all_there(out, record.volumes) else None


def _made(entry: dict[str, Any]) -> Made:
    networks = tuple(
        ModelIdentity(**network | {"kind": SegmentKind(network["kind"])})
        for network in entry["networks"]
    )
    return Made(**entry | {"networks": networks, "warnings": tuple(entry["warnings"])})


def _all_there(out: Path, volumes: Sequence[Made]) -> bool:
    paths = [p for v in volumes for p in (v.image, v.anatomy_mask, v.anonymization_mask) if p]
    return bool(volumes) and all((out / path).is_file() for path in paths)


def atomically(path: Path, write: Callable[[Path], object]) -> None:
    """`write` gets a path beside `path` with the same suffix, and it is renamed when on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
