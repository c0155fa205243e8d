"""Keys: written for their owner alone, refused where they are not what they should be."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dicomnode.errors import ReceiptError
from dicomnode.gate import keys


def test_a_new_key_is_its_owners_alone_and_signs_for_its_public_half(tmp_path: Path) -> None:
    file = tmp_path / "key"
    public_file = keys.generate(file)
    assert (public_file, stat.S_IMODE(file.stat().st_mode)) == (tmp_path / "key.pub", 0o600)
    assert file.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    key, public = keys.private_key(file), keys.public_key(public_file)
    public.verify(key.sign(b"text"), b"text")
    assert keys.key_id(public) == keys.key_id(key.public_key())
    assert len(keys.key_id(public)) == 64


@pytest.mark.parametrize("taken", ["key", "key.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(ReceiptError, match="is there already"):
        keys.generate(tmp_path / "key")
    assert (tmp_path / taken).read_text() == "mine"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    keys.generate(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ReceiptError, match="chmod 600"):
        keys.private_key(tmp_path / "key")


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public_file = keys.generate(tmp_path / "good")
    for content in (pem, b"", b"nonsense", public_file.read_bytes()):
        (tmp_path / "key").write_bytes(content)
        (tmp_path / "key").chmod(0o600)
        with pytest.raises(ReceiptError, match="no Ed25519 key"):
            keys.private_key(tmp_path / "key")
    for content in (pem, b"", (tmp_path / "good").read_bytes()):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(ReceiptError, match="no public Ed25519 key"):
            keys.public_key(tmp_path / "key")
    with pytest.raises(ReceiptError, match="can't be read: No such file"):
        keys.private_key(tmp_path / "nowhere")
