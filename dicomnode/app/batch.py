"""`dicomnode examine`: the node's examination for folders, without network and database.

Files are searched recursively and may hold any mixture of studies. The report has a line for each
volume of a series, and one for whatever is none: what can't be examined never stops the rest.
"""

from __future__ import annotations

import logging
import os
import stat
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dicomnode.config import Settings
from dicomnode.dicom.file_format import read_received
from dicomnode.domain import (
    Examination,
    Revision,
    StoredInstance,
    as_json,
    revision_digest,
)
from dicomnode.errors import DicomnodeError
from dicomnode.inference.assessment import Segmenter
from dicomnode.inference.examine import examine, examine_nifti
from dicomnode.tracking.spool import short_name

log = logging.getLogger("dicomnode.batch")

NIFTI_SUFFIXES = (".nii", ".nii.gz")

# Beside images, folders and discs hold these; they are no bad files.
IGNORED_NAMES = frozenset({"DICOMDIR", "README", "LICENSE", "VERSION", "LOCKFILE"})
IGNORED_SUFFIXES = frozenset({".json", ".jsonl", ".txt", ".md", ".html", ".xml", ".csv", ".png"})


# What `json.dumps` writes as one line of the report.
Line = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What lies under the given paths, before anything is examined."""

    revisions: tuple[Revision, ...] = ()
    nifti: tuple[Path, ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()

    @property
    def count(self) -> int:
        """How often `examine_all` will report."""
        return len(self.revisions) + len(self.nifti) + len(self.unreadable)


@dataclass
class Tally:
    """How the batch went: one count for each way a line can end."""

    examined: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def complete(self) -> bool:
        return self.examined > 0 and not self.refused and not self.failed


def find(paths: Sequence[Path], advance: Callable[[int], None] = lambda files: None) -> Found:
    """Sort every file under `paths` into series, NIfTI files, and what can't be read."""
    series: dict[tuple[str, str], dict[str, tuple[Path, StoredInstance]]] = {}
    nifti: list[Path] = []
    unreadable: list[tuple[Path, str]] = []
    for path in _files(paths, unreadable):
        advance(1)
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            nifti.append(path)
            continue
        try:
            instance = read_received("", path)
        except Exception as error:  # noqa: BLE001 - the edge for one file: recorded, and on
            unreadable.append((path, failure_sentence(error)))
            continue
        header = instance.header
        members = series.setdefault((header.study_instance_uid, header.series_instance_uid), {})
        first = members.setdefault(header.sop_instance_uid, (path, instance))
        if first[1].pixel_sha256 != instance.pixel_sha256:
            unreadable.append((path, f"same SOP Instance UID as {first[0]}, but other pixels"))
    revisions = tuple(_revision(list(members.values())) for members in series.values())
    return Found(revisions, tuple(nifti), tuple(unreadable))


def examine_all(
    found: Found,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: Path,
    report: Callable[[list[Line]], None],
    progress: Callable[[str], None] = lambda stage: None,
    nifti_modality: str = "",
) -> Tally:
    """Examine everything in `found`; `report` gets the lines of one series or file at a time."""
    tally = Tally()
    for path, reason in found.unreadable:
        tally.failed += 1
        report([{"path": str(path), "error": reason}])
    for revision in found.revisions:
        folder = out / short_name(revision.series_instance_uid)
        run = partial(examine, revision, networks, settings, folder, progress)
        _one(_subject(revision) | {"folder": str(folder)}, run, tally, report)
    for path in found.nifti:
        folder = out / short_name(str(path.resolve()))
        run = partial(examine_nifti, path, networks, settings, folder, progress, nifti_modality)
        _one({"path": str(path), "folder": str(folder)}, run, tally, report)
    return tally


def _subject(revision: Revision) -> Line:
    return {
        "study_instance_uid": revision.study_instance_uid,
        "series_instance_uid": revision.series_instance_uid,
        "modality": revision.modality,
        "instances": len(revision.paths),
    }


def _one(
    subject: Line,
    run: Callable[[], Examination],
    tally: Tally,
    report: Callable[[list[Line]], None],
) -> None:
    try:
        examination = run()
    except Exception as error:  # noqa: BLE001 - the edge for one series: recorded, and on
        tally.failed += 1
        report([subject | {"error": failure_sentence(error)}])
        return
    tally.examined += len(examination.volumes)
    tally.refused += len(examination.set_aside)
    report([subject | line for line in _lines(examination)])


def _lines(examination: Examination) -> Iterator[Line]:
    """One for each volume and each set-aside, all with the same keys."""
    line = {
        "revision_digest": examination.revision_digest,
        "volume": "",
        "images": 0,
        "evidence": None,
        "verdict": None,
        "refusal": None,
        "segmentation": None,
        "pictures": [],
        "software_version": examination.software_version,
        "examiner_digest": examination.examiner_digest,
    }
    for volume in examination.volumes:
        found = as_json(volume)
        yield line | {"volume": found.pop("label")} | found
    for set_aside in examination.set_aside:
        yield line | as_json(set_aside)


def failure_sentence(error: Exception) -> str:
    """What is told of an error: the messages of other libraries may quote a patient's data.

    The log at DEBUG says where it was raised, without its message.
    """
    name = type(error).__name__
    if isinstance(error, DicomnodeError):
        return str(error)
    log.debug("failed", extra={"error": name, "where": traceback.format_tb(error.__traceback__)})
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return f"{name}; see the log at DEBUG (DICOMNODE_NODE__LOG_LEVEL=DEBUG)"


def _files(paths: Iterable[Path], unreadable: list[tuple[Path, str]]) -> Iterator[Path]:
    """Every file that may be an image; a folder that can't be listed goes to `unreadable`."""

    def keep(error: OSError) -> None:
        unreadable.append((Path(error.filename), f"folder not searched: {error.strerror}"))

    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path, onerror=keep):
            folders.sort()
            inside = (Path(folder, name) for name in sorted(names))
            yield from (file for file in inside if not _is_ignored(file))


def _is_ignored(path: Path) -> bool:
    """What is no image by its name, and sockets and the like: opening one could wait for ever."""
    if path.name in IGNORED_NAMES or path.suffix.lower() in IGNORED_SUFFIXES:
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # reading it will say why


def _revision(members: Sequence[tuple[Path, StoredInstance]]) -> Revision:
    header = members[0][1].header
    digest = revision_digest(
        (item.header.sop_instance_uid, item.pixel_sha256) for _, item in members
    )
    return Revision(
        id=0,
        number=1,
        digest=digest,
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        modality=header.modality,
        paths=tuple(path for path, _ in members),
    )
