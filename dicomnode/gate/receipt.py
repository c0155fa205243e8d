"""A receipt as a document: what it says, its one canonical form, its signature.

Canonical is JSON in ASCII without spaces, keys sorted. The signature (Ed25519, base64) is over that
form of all but the key `signature`; the SHA-256 that the next receipt names is over all of it. No
attribute of a patient is in it, but UIDs, which the files have too.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from dicomnode.domain import GateOutcome, ModelIdentity, Verdict, as_json
from dicomnode.errors import ReceiptError

FORMAT = 2
_FORMATS = (1, FORMAT)
POLICY = "policy"


@dataclass(frozen=True)
class Person:
    """A named account that decided, and why."""

    account: str
    note: str


@dataclass(frozen=True)
class KeptHead:
    """How many rows the audit log had, and the hash of the last one."""

    row_count: int
    sha256: str


@dataclass(frozen=True)
class ReceiptInstance:
    """`file_sha256` is of the file as the node keeps it, with its own file meta.

    By `data_set_sha256` (`dicom.encoded.Peek`) and the transfer syntax it is known in the file meta
    of others; both are empty in format 1.
    """

    sop_instance_uid: str
    file_sha256: str
    pixel_sha256: str
    data_set_sha256: str = ""
    transfer_syntax_uid: str = ""


@dataclass(frozen=True)
class ReceiptRefusal:
    """Images of which no volume was made, and which the policy lets pass all the same."""

    code: str
    images: int


@dataclass(frozen=True)
class ReceiptDecision:
    """What a person said of a series as it was examined."""

    kind: str
    account: str
    note: str
    at: datetime


@dataclass(frozen=True)
class ReceiptSeries:
    """One series as it was examined; a SEG of the node's own has neither verdict nor networks."""

    series_instance_uid: str
    is_own_segmentation: bool
    revision_digest: str
    verdict: Verdict | None
    refusals: tuple[ReceiptRefusal, ...]
    decisions: tuple[ReceiptDecision, ...]
    networks: tuple[ModelIdentity, ...]
    software_version: str
    instances: tuple[ReceiptInstance, ...]


@dataclass(frozen=True)
class Receipt:
    """One decision of the gate; `number` counts from 1, `previous_sha256` is of the one before.

    `policy_sha256` is the digest of the rules of the project (`policy.Policy`).
    """

    format: int
    number: int
    previous_sha256: str
    at: datetime
    project: str
    policy_sha256: str
    study_instance_uid: str
    outcome: GateOutcome
    reasons: tuple[str, ...]
    series: tuple[ReceiptSeries, ...]
    by: str | Person
    audit_head: KeptHead
    key_id: str

    @property
    def instances(self) -> tuple[ReceiptInstance, ...]:
        return tuple(instance for each in self.series for instance in each.instances)


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt, the bytes that were signed, and the whole document."""

    receipt: Receipt
    signed: bytes
    signature: bytes
    document: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.document.encode("ascii")).hexdigest()


_RECEIPT = TypeAdapter(Receipt)


def sign(receipt: Receipt, key: Ed25519PrivateKey) -> SignedReceipt:
    content = as_json(receipt)
    signed = _canonical(content)
    signature = key.sign(signed)
    return SignedReceipt(receipt, signed, signature, _document(content, signature))


def read(text: bytes, name: str) -> SignedReceipt:
    """The receipt in a file of this name; its signature is not checked yet.

    Raises `ReceiptError` where it is none, or of a later format.
    """
    try:
        content = json.loads(text, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError) as error:
        raise ReceiptError(f"{name}: no receipt: {error}") from None
    if not isinstance(content, dict) or "signature" not in content:
        raise ReceiptError(f"{name}: no receipt: it has no signature")
    if content.get("format") not in _FORMATS:
        raise ReceiptError(
            f"{name}: a receipt of format {content.get('format')!r}: this version reads {FORMAT}"
        )
    try:
        signature = base64.b64decode(content.pop("signature"), validate=True)
        receipt = _RECEIPT.validate_python(content)
        return SignedReceipt(receipt, _canonical(content), signature, _document(content, signature))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ReceiptError(f"{name}: no receipt: {where}: {first['msg']}") from None
    except (ValueError, TypeError) as error:
        raise ReceiptError(f"{name}: no receipt: {error}") from None


def _document(content: Mapping[str, Any], signature: bytes) -> str:
    encoded = base64.b64encode(signature).decode("ascii")
    return _canonical({**content, "signature": encoded}).decode("ascii")


def _canonical(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _each_key_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values of one key, another reader might show the other."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in it twice")
    return found
