"""Checking receipts and files with a public key alone: no database, no configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicomnode.dicom.encoded import peek
from dicomnode.dicom.file_format import has_plain_meta, split_file
from dicomnode.domain import GateOutcome
from dicomnode.errors import UnreadableObjectError
from dicomnode.gate.keys import key_id
from dicomnode.gate.receipt import Receipt, SignedReceipt
from dicomnode.tracking.audit_chain import START


class FileState(StrEnum):
    """What a file is to the receipts; only RELEASED is proven."""

    RELEASED = "released"
    CHANGED = "changed"
    NOT_NAMED = "not named"
    NOT_DICOM = "not DICOM"


@dataclass(frozen=True)
class CheckedFile:
    path: Path
    state: FileState
    sop_instance_uid: str = ""


@dataclass(frozen=True)
class Verification:
    """`faults`: why the receipts prove nothing. `gaps`: numbers between them that weren't given.

    `missing`: SOP Instance UIDs that the receipts name and no file is; what was given is proven
    all the same.
    """

    receipts: tuple[Receipt, ...]
    faults: tuple[str, ...]
    gaps: tuple[str, ...]
    files: tuple[CheckedFile, ...]
    missing: tuple[str, ...]

    @property
    def is_proven(self) -> bool:
        return not self.faults and all(file.state is FileState.RELEASED for file in self.files)


def verify(
    receipts: Sequence[SignedReceipt], public_key: Ed25519PublicKey, files: Iterable[Path] = ()
) -> Verification:
    """Signatures, outcome, the chain between the receipts, and each file against all of them."""
    ordered = sorted(receipts, key=lambda signed: signed.receipt.number)
    faults = [fault for signed in ordered for fault in _faults(signed, public_key)]
    gaps: list[str] = []
    for before, after in pairwise(ordered):
        faults += _broken(before, after)
        gaps += _gap(before.receipt.number, after.receipt.number)
    named = [instance for signed in ordered for instance in signed.receipt.instances]
    uids = {instance.sop_instance_uid for instance in named}
    released = _Released(
        {instance.file_sha256: instance.sop_instance_uid for instance in named},
        frozenset(
            (each.sop_instance_uid, each.transfer_syntax_uid, each.data_set_sha256)
            for each in named
            if each.data_set_sha256
        ),
    )
    checked = tuple(_check(file, released, uids) for file in files)
    given = {file.sop_instance_uid for file in checked if file.state is FileState.RELEASED}
    return Verification(
        receipts=tuple(signed.receipt for signed in ordered),
        faults=tuple(faults),
        gaps=tuple(gaps),
        files=checked,
        missing=tuple(sorted(uids - given)),
    )


def is_receipt(path: Path) -> bool:
    """Whether a file is JSON with a signature; what it is worth is a matter of `verify`."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        if not stream.read(64).lstrip().startswith(b"{"):  # images are not read whole
            return False
    try:
        return "signature" in json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False


def _faults(signed: SignedReceipt, public_key: Ed25519PublicKey) -> Iterable[str]:
    receipt = signed.receipt
    if receipt.key_id != key_id(public_key):
        yield f"receipt {receipt.number} was signed by another key, {receipt.key_id}"
        return
    try:
        public_key.verify(signed.signature, signed.signed)
    except InvalidSignature:
        yield f"receipt {receipt.number} was changed: its signature is wrong"
    if receipt.outcome is not GateOutcome.RELEASE:
        yield f"receipt {receipt.number} releases nothing: its outcome is {receipt.outcome}"
    if receipt.number == 1 and receipt.previous_sha256 != START:
        yield "receipt 1 names one before it"


def _broken(before: SignedReceipt, after: SignedReceipt) -> Iterable[str]:
    first, second = before.receipt.number, after.receipt.number
    if first == second and before.sha256 != after.sha256:
        yield f"there are two receipts {first} that differ"
    if first + 1 == second and after.receipt.previous_sha256 != before.sha256:
        yield f"receipt {second} doesn't follow from receipt {first}: the chain is broken"


def _gap(first: int, second: int) -> Iterable[str]:
    if second > first + 1:
        only = second == first + 2
        yield f"receipt {first + 1}" if only else f"receipts {first + 1} to {second - 1}"


@dataclass(frozen=True)
class _Released:
    """Files by their bytes, and instances in the file meta of others: UID, syntax and digest."""

    files: Mapping[str, str]
    data_sets: frozenset[tuple[str, str, str]]


def _check(file: Path, released: _Released, uids: set[str]) -> CheckedFile:
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if (known := released.files.get(sha256)) is not None:
        return CheckedFile(file, FileState.RELEASED, known)
    uid = _sop_instance_uid(file)
    if not uid:
        return CheckedFile(file, FileState.NOT_DICOM)
    if uid not in uids:
        return CheckedFile(file, FileState.NOT_NAMED, uid)
    is_same = _in_other_meta(file) in released.data_sets
    return CheckedFile(file, FileState.RELEASED if is_same else FileState.CHANGED, uid)


def _in_other_meta(file: Path) -> tuple[str, str, str]:
    """What an archive that wrote its own file meta left as it was; file meta that could hide
    something is nobody's."""
    data = file.read_bytes()
    try:
        meta, data_set = split_file(data)
        found = peek(data_set, meta.transfer_syntax_uid)
        is_plain = has_plain_meta(data)
    except UnreadableObjectError:
        return "", "", ""
    digest = found.data_set_sha256 if is_plain else ""
    return found.header.sop_instance_uid, meta.transfer_syntax_uid, digest


def _sop_instance_uid(file: Path) -> str:
    """Empty where the file is no DICOM object, or names none."""
    try:
        dataset = dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    except (InvalidDicomError, ValueError, EOFError, KeyError, AttributeError, TypeError):
        return ""
    return str(dataset.get("SOPInstanceUID", ""))
