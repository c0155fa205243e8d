"""A study of real files that was examined and may leave, and its receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dicomnode.config_policy import GateSettings
from dicomnode.dicom.file_format import read_received
from dicomnode.domain import GateDecision, GateOutcome
from dicomnode.gate import keys, receipt, receipts
from dicomnode.gate.policy import Policy
from dicomnode.intake.received import Peer, received_from_file
from dicomnode.tracking import examinations, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.spool import Spool, object_name
from tests.factories import make_series
from tests.unit.tracking.rows import examined


@dataclass(frozen=True)
class Study:
    uid: str
    files: tuple[Path, ...]


def examined_study(
    database: Database, folder: Path, name: str = "study", examiner_digest: str = ""
) -> Study:
    """Two series of four slices, examined and DEFACED."""
    files, spool = [], Spool(folder / "spool")
    for number in (1, 2):
        files += make_series(
            folder / name / str(number), study=name, series=f"{name}{number}", slices=4
        )
    with database.begin() as connection:
        stored = [read_received(object_name(str(file)), file) for file in files]
        instances.add(connection, stored)
        for waiting in unrevised(connection, datetime.now(UTC)):
            revision = series.add_revision(connection, waiting.series_id, spool, datetime.now(UTC))
            assert revision is not None
            examination = replace(examined(revision), examiner_digest=examiner_digest)
            examinations.record(connection, revision.id, examination)
    return Study(stored[0].header.study_instance_uid, tuple(files))


def received_study(
    database: Database,
    spool: Spool,
    folder: Path,
    name: str = "study",
    examiner_digest: str = "",
    **options: Any,
) -> Study:
    """A series of four slices that came over the network, examined and DEFACED.

    `files` are the spool's own; `options` are those of `make_series`.
    """
    defaults: dict[str, Any] = {"study": name, "series": name, "slices": 4}
    sent = make_series(folder / name, **(defaults | options))
    return Study(*receive(database, spool, sent, examiner_digest))


def receive(
    database: Database, spool: Spool, sent: Sequence[Path], examiner_digest: str = ""
) -> tuple[str, tuple[Path, ...]]:
    """Stored, indexed and examined; the study, and the files as they lie in the spool."""
    peer, stored = Peer("", "SCANNER", "DICOMNODE", "192.0.2.7"), []
    for file in sent:
        came = received_from_file(peer, file.read_bytes())
        made = spool.store(came.sop_instance_uid, came.file_meta, came.data_set)
        stored.append(read_received(made.name, spool.path(made.name)))
    with database.begin() as connection:
        instances.add(connection, stored)
        for waiting in unrevised(connection, datetime.now(UTC)):
            revision = series.add_revision(connection, waiting.series_id, spool, datetime.now(UTC))
            assert revision is not None
            examination = replace(examined(revision), examiner_digest=examiner_digest)
            examinations.record(connection, revision.id, examination)
    paths = tuple(spool.path(one.name) for one in stored)
    return stored[0].header.study_instance_uid, paths


def issue(
    database: Database,
    study: Study,
    key: Ed25519PrivateKey,
    project: str = "default",
    rules: GateSettings | None = None,
    **options: Any,
) -> receipt.SignedReceipt:
    policy = Policy(project, rules or GateSettings())
    decision = GateDecision(study.uid, GateOutcome.RELEASE, ("both are DEFACED",))
    with database.begin() as connection:
        found = verdicts_of_study(connection, study.uid)
        return receipts.issue(connection, key, decision, found, policy=policy, **options)


def new_key(folder: Path, name: str = "key") -> Ed25519PrivateKey:
    keys.generate(folder / name)
    return keys.private_key(folder / name)


def read_all(documents: Sequence[str]) -> list[receipt.SignedReceipt]:
    return [receipt.read(text.encode(), f"receipt {n}") for n, text in enumerate(documents)]
