"""Examinations without a network, as small as they can be: a SEG that a peer takes, a verdict.

Imports little, since examining processes start with it again and again.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from dicomnode.app.examining_process import Pulse, Tasks
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import (
    Acquisition,
    CopyOrder,
    Evidence,
    Examination,
    ExaminedVolume,
    HeaderClaims,
    Revision,
    SegmentationFile,
    SegmentKind,
    SeriesCopy,
    Verdict,
    VerdictKind,
)
from dicomnode.errors import ExaminationFailedError, ExaminationPostponedError, ModelError

SEGMENTS = (SegmentKind.FOREGROUND, SegmentKind.ANONYMISED_AREA)
MODELS = "0123456789abcdef" * 4


EVIDENCE = Evidence(
    volumes_ml=dict.fromkeys(SEGMENTS, 1.5),
    largest_component_ml=dict.fromkeys(SEGMENTS, 1.0),
    exposed_face_ml=0.0,
    models=(),
    claims=HeaderClaims(),
    field_of_view_mm=(3.0, 3.0, 3.0),
    spacing_mm=(1.0, 1.0, 1.0),
    matrix=(3, 3, 3),
    acquisition=Acquisition(1.0, ("ORIGINAL", "PRIMARY"), ("GR",)),
)
VERDICT = Verdict(VerdictKind.DEFACED, "small", 1, ("a test says so",), {"ml": 1.5})


def examine(
    revision: Revision, out: Path, seconds: float = 0.0, labels: Sequence[str] = ("",)
) -> Examination:
    """For each label a volume: a SEG with a UID as deterministic as a real one, and a verdict."""
    assert all(path.is_file() for path in revision.paths)
    time.sleep(seconds)
    images = len(revision.paths)
    volumes = tuple(
        ExaminedVolume(label, images, EVIDENCE, VERDICT, _segmentation(revision, label, out))
        for label in labels
    )
    return Examination(revision.digest, volumes)


def _segmentation(revision: Revision, label: str, out: Path) -> SegmentationFile:
    uid = result_uid(revision.series_instance_uid, revision.digest, MODELS, label)
    series_uid = result_uid(revision.series_instance_uid, revision.digest, "seg")
    path = out / f"{hashlib.sha256(uid.encode()).hexdigest()}.dcm"
    write_seg(path, uid, series_uid)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return SegmentationFile(SEGMENTS, uid, series_uid, path, sha256)


def write_seg(path: Path, uid: str, series_uid: str) -> Path:
    """The smallest object that a peer takes for a SEG."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SegmentationStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    data_set.SOPClassUID = SegmentationStorage
    data_set.SOPInstanceUID = uid
    data_set.StudyInstanceUID = result_uid("study", series_uid)
    data_set.SeriesInstanceUID = series_uid
    data_set.PatientID = "TEST"
    data_set.Modality = "SEG"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    data_set.save_as(temporary, enforce_file_format=True)
    temporary.replace(path)
    return path


def load_small(data: Path, how: str, pulse: Pulse) -> Tasks:
    """What an examining process does: examines, but for the series that are named "poison..."."""
    marks = data / "marks"
    marks.mkdir(parents=True, exist_ok=True)

    def examine_revision(revision: Revision) -> Examination:
        pulse.step("a step of a small examination")
        if revision.series_instance_uid == result_uid("series", "poison"):
            (marks / f"try-{time.monotonic_ns()}").touch()
            _fail(how, len(list(marks.iterdir())))
        seconds = random.uniform(0.0, 0.3)
        return examine(revision, data / "results", seconds)

    (data / f"loaded-{os.getpid()}").touch()
    return Tasks(examine_revision, no_copies)


def _fail(how: str, number: int) -> None:
    match how:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "crash once" if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "no memory":
            raise ExaminationPostponedError("waits for memory")
        case "tell the level of its log":
            raise ExaminationFailedError(f"level {logging.getLogger('dicomnode').level}")
        case "no memory once" if number == 1:
            raise ExaminationPostponedError("waits for memory")
        case "full disk once" if number == 1:
            raise OSError(errno.ENOSPC, "the disk is full")


def no_copies(_: CopyOrder) -> SeriesCopy:
    raise ExaminationFailedError("small examinations remove no faces")


def die(_: Pulse) -> Tasks:
    """An examining process that is killed while it loads its networks."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def refuse(_: Pulse) -> Tasks:
    """An examining process whose networks are not as pinned."""
    raise ModelError("the face network has another SHA-256 than its manifest")
