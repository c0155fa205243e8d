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
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicomnode import config
from dicomnode.app.examining import ExaminingProcess
from dicomnode.delivery.store import send
from dicomnode.dicom.file_format import encode_file_meta
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import Examination, InstanceHeader, Revision, StoredInstance
from dicomnode.jobs.worker import work
from dicomnode.jobs.workflows import Stages
from dicomnode.tracking import instances
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.small_examination import EVIDENCE, VERDICT, examine, load_small, write_seg

__all__ = ["EVIDENCE", "VERDICT", "examine", "write_seg"]


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
    meta = encode_file_meta(
        sop_class_uid=CTImageStorage,
        sop_instance_uid=uid,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        calling_ae_title="SCANNER",
        called_ae_title="DICOMNODE",
        peer_address="127.0.0.1",
    )
    stored = spool.store(uid, meta, content)
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


def stages(settings: config.Settings, seconds: Callable[[], float] = lambda: 0.0) -> Stages:
    return Stages(
        examine=lambda revision: examine(revision, settings.results_folder, seconds()),
        deliver=send,
    )


def examining_process(settings: config.Settings, how: str = "") -> ExaminingProcess:
    return ExaminingProcess(partial(load_small, settings.node.data_folder, how), settings.jobs)


def _poison(revision: Revision) -> Examination:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def main() -> None:
    settings = config.load(Path(sys.argv[1]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    given = stages(settings, lambda: random.uniform(0.0, 0.3))
    if "child" in sys.argv:
        child = examining_process(settings, "hang")
        child.start()
        given = Stages(examine=child.examine, deliver=send)
    if "poison" in sys.argv:
        given = Stages(examine=_poison, deliver=send)
    if "slow" in sys.argv:
        given = stages(settings, lambda: 60.0)
    ready = Path(sys.argv[1]).with_suffix(".ready")
    work(settings, Database(settings.database_url), given, ready=ready.touch, stop=stop)
    if "child" in sys.argv:
        child.close()
    os._exit(0)


if __name__ == "__main__":
    main()
