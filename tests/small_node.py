"""A node whose examinations are small: real spool, database, engine and DICOM, no network.

Run as a program it is a worker process, to be killed: `python -m tests.small_node CONFIG.toml`.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage

from dicomnode import config
from dicomnode.delivery.store import send
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import (
    Acquisition,
    Evidence,
    Examination,
    ExaminedVolume,
    HeaderClaims,
    InstanceHeader,
    Revision,
    SegmentationFile,
    SegmentKind,
    StoredInstance,
    Verdict,
    VerdictKind,
)
from dicomnode.jobs.worker import work
from dicomnode.jobs.workflows import Stages
from dicomnode.tracking import instances
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

SEGMENTS = (SegmentKind.FOREGROUND, SegmentKind.ANONYMISED_AREA)
MODELS = "0123456789abcdef" * 4


def put_series(
    settings: config.Settings, database: Database, name: str, slices: int = 3, first: int = 0
) -> str:
    """Receive a series a minute ago, one study each; returns its Series Instance UID."""
    series_uid = result_uid("series", name)
    spool = Spool(settings.spool_folder)
    spool.prepare()
    rows = [_put_instance(spool, name, series_uid, first + number) for number in range(slices)]
    with database.begin() as connection:
        instances.add(connection, rows)
    return series_uid


def _put_instance(spool: Spool, name: str, series_uid: str, number: int) -> StoredInstance:
    uid = result_uid("instance", name, str(number))
    content = f"{name} {number}".encode()
    stored = spool.store(uid, b"meta", content)
    return StoredInstance(
        header=InstanceHeader(
            CTImageStorage, uid, result_uid("study", name), series_uid, ExplicitVRLittleEndian, "CT"
        ),
        name=stored.name,
        size_bytes=stored.size_bytes,
        file_sha256=stored.file_sha256,
        pixel_sha256=hashlib.sha256(content).hexdigest(),
        data_set_sha256=hashlib.sha256(content).hexdigest(),
        received_at=datetime.now(UTC) - timedelta(minutes=1),
        calling_ae_title="SCANNER",
        peer_address="127.0.0.1",
    )


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


def stages(settings: config.Settings, seconds: Callable[[], float] = lambda: 0.0) -> Stages:
    return Stages(
        examine=lambda revision: examine(revision, settings.results_folder, seconds()),
        deliver=send,
    )


def _poison(revision: Revision) -> Examination:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def main() -> None:
    settings = config.load(Path(sys.argv[1]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    given = stages(settings, lambda: random.uniform(0.0, 0.3))
    if "poison" in sys.argv:
        given = Stages(examine=_poison, deliver=send)
    if "slow" in sys.argv:
        given = stages(settings, lambda: 60.0)
    ready = Path(sys.argv[1]).with_suffix(".ready")
    work(settings, Database(settings.database_url), given, ready=ready.touch, stop=stop)
    os._exit(0)


if __name__ == "__main__":
    main()
