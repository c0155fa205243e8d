"""The Ed25519 key (RFC 8032) that signs receipts: PKCS #8 in PEM, its public half beside it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from dicomnode.errors import ReceiptError


def generate(file: Path) -> Path:
    """Write a new key, for its owner alone, and FILE.pub for everybody; returns the latter.

    Raises `ReceiptError` where one of the two is there: a key that signed is never overwritten.
    """
    public_file = file.with_name(f"{file.name}.pub")
    for path in (file, public_file):
        if path.exists():
            raise ReceiptError(f"{path} is there already: choose another name, or move it away")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(file, pem, 0o600)
    _write(public_file, public_pem(key.public_key()), 0o644)
    return public_file


def private_key(file: Path) -> Ed25519PrivateKey:
    """Raises `ReceiptError` where it can't be read, others can read it, or it is no such key."""
    pem = _read(file)
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ReceiptError(f"{file}: others than its owner can read this key: chmod 600 {file}")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ReceiptError(f"{file}: no Ed25519 key in PEM: dicomnode gate keygen makes one")
    return key


def public_key(file: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(file))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ReceiptError(
            f"{file}: no public Ed25519 key in PEM: give the .pub file of the node's key"
        )
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the 32 bytes of the public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ReceiptError(f"{file}: the key can't be read: {error.strerror}") from None


def _write(file: Path, content: bytes, mode: int) -> None:
    """The mode is there before the content, and nothing is followed or overwritten."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
