"""Files that somebody is about to hand over and names by digest, from another machine.

Only the digest of the whole file can be compared, with that of the file as the node keeps it. So a
file with another file meta, as every PACS writes its own, is CHANGED here; where the files are at
hand, `gate.folder` looks into them.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from dicomnode.domain import GateDecision, GateOutcome, WantedDigest
from dicomnode.gate.files import FileState
from dicomnode.gate.policy import Policy
from dicomnode.gate.studies import decide_studies
from dicomnode.tracking.database import Database
from dicomnode.tracking.instances import KnownFile, known_files


@dataclass(frozen=True)
class NamedFile:
    """`sha256` is over the whole file, as it lies there."""

    sop_instance_uid: str
    sha256: str


@dataclass(frozen=True)
class JudgedFile:
    """`state` is one of received, unknown, changed; only received passes."""

    sop_instance_uid: str
    state: FileState


@dataclass(frozen=True)
class FilesDecision:
    """May all of them leave? In the order given; `studies` are those that received files are of."""

    outcome: GateOutcome
    reasons: tuple[str, ...]
    files: tuple[JudgedFile, ...]
    studies: tuple[GateDecision, ...]


def decide_files(
    named: Sequence[NamedFile], database: Database, policy: Policy, wanted: WantedDigest
) -> FilesDecision:
    """Studies are decided last: no file passes by a verdict that it was no part of."""
    with database.read() as connection:
        known = known_files(connection, list({file.sop_instance_uid for file in named}))
    judged = tuple(_judge(file, known.get(file.sop_instance_uid)) for file in named)
    received = [one.sop_instance_uid for one in judged if one.state is FileState.RECEIVED]
    uids = sorted({known[uid].study_instance_uid for uid in received})
    studies = tuple(decide_studies(database, uids, policy, wanted))
    reasons = tuple(_reasons(judged, studies, policy))
    outcome = GateOutcome.HOLD if reasons else GateOutcome.RELEASE
    return FilesDecision(outcome, reasons, judged, studies)


def _judge(file: NamedFile, known: KnownFile | None) -> JudgedFile:
    if known is None:
        return JudgedFile(file.sop_instance_uid, FileState.UNKNOWN)
    is_same = hmac.compare_digest(file.sha256, known.file_sha256)
    return JudgedFile(file.sop_instance_uid, FileState.RECEIVED if is_same else FileState.CHANGED)


def _reasons(
    judged: Sequence[JudgedFile], studies: Sequence[GateDecision], policy: Policy
) -> list[str]:
    """Why they may not leave; empty where they may."""
    states = [one.state for one in judged]
    found = [policy.unknown] if policy.unknown else []
    if FileState.RECEIVED not in states:
        found.append("no file among them was examined, so nothing is proven")
    if unknown := states.count(FileState.UNKNOWN):
        found.append(f"{unknown} files were never received, so nobody examined them")
    if changed := states.count(FileState.CHANGED):
        found.append(f"{changed} files are not, byte for byte, those that were examined")
    held = [one for one in studies if one.outcome is not GateOutcome.RELEASE]
    if held:
        found.append(f"{len(held)} of their studies may not leave")
    return found
