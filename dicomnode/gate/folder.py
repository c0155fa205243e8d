"""May this folder be handed over? Every file in it has to be one that was examined and may leave.

Instances are looked up first and studies decided last: what is still to be examined then holds its
study, so no file passes by a verdict that it was no part of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dicomnode.domain import GateDecision, GateOutcome, WantedDigest
from dicomnode.errors import GateError
from dicomnode.gate.files import FileState, FoundFile, compare, files_in
from dicomnode.gate.policy import Policy
from dicomnode.gate.studies import decide_studies
from dicomnode.tracking.database import Database
from dicomnode.tracking.instances import known_files
from dicomnode.tracking.spool import Spool

_AT_A_TIME = 400
_SENTENCES = {
    FileState.UNKNOWN: "no object of its SOP Instance UID was received, so nobody examined it",
    FileState.CHANGED: "it is not, byte for byte, the object that was received and examined",
    FileState.UNREADABLE: "it can't be read, so nobody knows what it is",
    FileState.NOT_DICOM: "it is no DICOM file, and may show a face or name a person",
    FileState.NO_FILE: "it is a link or no plain file, and what it leads to was not looked at",
}


@dataclass(frozen=True)
class HoldingFile:
    """`name` is relative to the folder."""

    name: str
    state: FileState
    sentence: str


@dataclass(frozen=True)
class FolderDecision:
    """May all of it leave? `studies` are those that its files are of, `files` how many of each.

    `passed_by_suffix` counts files that aren't DICOM and that the policy lets pass.
    """

    outcome: GateOutcome
    reasons: tuple[str, ...]
    holding: tuple[HoldingFile, ...]
    studies: tuple[GateDecision, ...]
    files: dict[str, int]
    passed_by_suffix: int


def decide_folder(
    folder: Path, database: Database, spool: Spool, policy: Policy, wanted: WantedDigest
) -> FolderDecision:
    """Raises `GateError` where there is no such folder; what can't be read in it holds."""
    if not folder.is_dir():
        raise GateError(f"{folder}: no such folder")
    holding, files, by_suffix = list[HoldingFile](), Counter[str](), 0
    for file, state, study_instance_uid in _judged(folder, database, spool):
        if state is FileState.RECEIVED:
            files[study_instance_uid] += 1
        elif state is FileState.NOT_DICOM and _passes_by_suffix(file.name, policy):
            by_suffix += 1
        else:
            holding.append(HoldingFile(file.name, state, _SENTENCES[state]))
    studies = tuple(decide_studies(database, sorted(files), policy, wanted))
    reasons = [policy.unknown] if policy.unknown else []
    reasons += [] if files else ["no file in it was examined, so nothing is proven"]
    released = all(one.outcome is GateOutcome.RELEASE for one in studies)
    return FolderDecision(
        GateOutcome.HOLD if reasons or holding or not released else GateOutcome.RELEASE,
        tuple(reasons),
        tuple(holding),
        studies,
        dict(sorted(files.items())),
        by_suffix,
    )


def _judged(
    folder: Path, database: Database, spool: Spool
) -> Iterator[tuple[FoundFile, FileState, str]]:
    """Each file with its state and, where it was received, its study."""
    found = files_in(folder)
    while batch := list(islice(found, _AT_A_TIME)):
        uids = [file.sop_instance_uid for file in batch if file.state is None]
        with database.read() as connection:
            received = known_files(connection, uids)
        for file in batch:
            known = received.get(file.sop_instance_uid)
            if file.state is not None:
                yield file, file.state, ""
            elif known is None:
                yield file, FileState.UNKNOWN, ""
            else:
                yield file, compare(file.path, known, spool), known.study_instance_uid


def _passes_by_suffix(name: str, policy: Policy) -> bool:
    return name.lower().endswith(tuple(policy.rules.other_file_suffixes))
