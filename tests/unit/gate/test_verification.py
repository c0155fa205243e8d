"""With a public key and receipts alone: which files were released, and which were not."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, JPEGBaseline8Bit

from dicomnode.dicom.file_format import split_file
from dicomnode.domain import GateOutcome
from dicomnode.errors import ReceiptError
from dicomnode.gate import receipt
from dicomnode.gate.receipt import SignedReceipt
from dicomnode.gate.verification import FileState, is_receipt, verify
from dicomnode.tracking.database import Database
from tests.unit.gate.released import Study, examined_study, issue, new_key, read_all


@pytest.fixture
def key(tmp_path: Path) -> Ed25519PrivateKey:
    return new_key(tmp_path)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Nothing here depends on the kind of database."""
    opened = Database(f"sqlite:///{tmp_path}/tracking.sqlite")
    opened.migrate()
    return opened


@pytest.fixture
def study(database: Database, tmp_path: Path) -> Study:
    return examined_study(database, tmp_path)


@pytest.fixture
def three(database: Database, study: Study, key: Ed25519PrivateKey) -> list[SignedReceipt]:
    return read_all([issue(database, study, key, f"p{n}").document for n in range(3)])


def test_released_files_are_proven_and_none_is_missing(
    three: list[SignedReceipt], study: Study, key: Ed25519PrivateKey
) -> None:
    found = verify(three[:1], key.public_key(), study.files)
    assert (found.is_proven, found.missing) == (True, ())
    assert {file.state for file in found.files} == {FileState.RELEASED}


def test_a_part_of_the_files_is_proven_and_the_rest_is_named(
    three: list[SignedReceipt], study: Study, key: Ed25519PrivateKey
) -> None:
    found = verify(three, key.public_key(), study.files[:6])
    left = {str(dcmread(file).SOPInstanceUID) for file in study.files[6:]}
    assert (found.is_proven, set(found.missing)) == (True, left)


def test_a_changed_a_foreign_and_a_strange_file_are_told_apart(
    three: list[SignedReceipt], study: Study, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    changed, foreign, strange = (tmp_path / name for name in ("changed", "foreign", "strange"))
    dataset = dcmread(study.files[0])
    dataset.PatientName = "Somebody^Else"
    dataset.save_as(changed)
    dataset = dcmread(study.files[0])
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.save_as(foreign)
    strange.write_bytes(b"a letter")
    found = verify(three, key.public_key(), [changed, foreign, strange, *study.files[1:]])
    assert not found.is_proven
    assert [(file.state, file.sop_instance_uid) for file in found.files[:3]] == [
        (FileState.CHANGED, str(dcmread(study.files[0]).SOPInstanceUID)),
        (FileState.NOT_NAMED, "1.2.3.4"),
        (FileState.NOT_DICOM, ""),
    ]
    assert found.missing == (str(dcmread(study.files[0]).SOPInstanceUID),)


def with_meta(file: Path, out: Path, transfer_syntax_uid: str = "") -> Path:
    """The same data set behind the file meta of an archive."""
    meta, data_set = split_file(file.read_bytes())
    other, head = FileMetaDataset(), BytesIO()
    other.MediaStorageSOPClassUID = UID(meta.sop_class_uid)
    other.MediaStorageSOPInstanceUID = UID(meta.sop_instance_uid)
    other.TransferSyntaxUID = UID(transfer_syntax_uid or meta.transfer_syntax_uid)
    other.SourceApplicationEntityTitle = "ARCHIVE"
    write_file_meta_info(head, other)
    out.write_bytes(bytes(128) + b"DICM" + head.getvalue() + data_set)
    return out


def test_a_released_file_is_proven_in_the_file_meta_of_an_archive(
    three: list[SignedReceipt], study: Study, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    file = with_meta(study.files[0], tmp_path / "other.dcm")
    assert file.read_bytes() != study.files[0].read_bytes()
    found = verify(three[:1], key.public_key(), [file])
    assert (found.is_proven, found.files[0].state) == (True, FileState.RELEASED)


def test_file_meta_that_could_hide_something_or_reads_the_bytes_otherwise_is_a_change(
    three: list[SignedReceipt], study: Study, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    hiding = with_meta(study.files[0], tmp_path / "hiding.dcm")
    hiding.write_bytes(b"Somebody".ljust(128, b"!") + hiding.read_bytes()[128:])
    read_otherwise = with_meta(study.files[0], tmp_path / "jpeg.dcm", JPEGBaseline8Bit)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(study.files[0].read_bytes()[:-1])
    found = verify(three[:1], key.public_key(), [hiding, read_otherwise, cut])
    assert [file.state for file in found.files] == [FileState.CHANGED] * 3


def test_a_receipt_of_format_1_knows_files_by_all_their_bytes_alone(
    three: list[SignedReceipt], study: Study, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    content = json.loads(three[0].document)
    for each in (i for s in content["series"] for i in s["instances"]):
        del each["data_set_sha256"], each["transfer_syntax_uid"]
    older = receipt.read(json.dumps(content | {"format": 1}).encode(), "older")
    signed = replace(older, signature=key.sign(older.signed))
    other = with_meta(study.files[1], tmp_path / "other.dcm")
    found = verify([signed], key.public_key(), [study.files[0], other])
    assert found.faults == ()
    assert [file.state for file in found.files] == [FileState.RELEASED, FileState.CHANGED]


def tampered(signed: SignedReceipt, old: str, new: str) -> SignedReceipt:
    assert old in signed.document
    return receipt.read(signed.document.replace(old, new).encode(), "it")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"project":"p0"', '"project":"another"'),
        ('"by":"policy"', '"by":"nobody"'),
        ('"face_ml":0.5', '"face_ml":0.4'),
        ('"kind":"DEFACED"', '"kind":"NO_FACE_IN_VIEW"'),
        ('"outcome":"release"', '"outcome":"release","more":1'),
    ],
)
def test_a_changed_receipt_proves_nothing(
    three: list[SignedReceipt], key: Ed25519PrivateKey, old: str, new: str
) -> None:
    found = verify([tampered(three[0], old, new)], key.public_key())
    assert found.faults == ("receipt 1 was changed: its signature is wrong",)


def test_a_receipt_of_another_key_proves_nothing(
    three: list[SignedReceipt], tmp_path: Path
) -> None:
    other = new_key(tmp_path, "other").public_key()
    (fault,) = verify(three[:1], other).faults
    assert fault.startswith("receipt 1 was signed by another key")


def test_a_receipt_that_was_laid_out_anew_is_the_same(
    three: list[SignedReceipt], key: Ed25519PrivateKey
) -> None:
    pretty = json.dumps(json.loads(three[0].document), indent=2)
    again = receipt.read(pretty.encode(), "it")
    assert again == three[0]
    assert verify([again], key.public_key()).is_proven


def test_a_receipt_that_holds_a_study_releases_nothing(
    three: list[SignedReceipt], key: Ed25519PrivateKey
) -> None:
    held = receipt.sign(replace(three[0].receipt, outcome=GateOutcome.HOLD), key)
    assert verify([held], key.public_key()).faults == (
        "receipt 1 releases nothing: its outcome is hold",
    )


def test_the_chain_is_followed_in_any_order(
    three: list[SignedReceipt], key: Ed25519PrivateKey
) -> None:
    found = verify(three[::-1], key.public_key())
    assert ([each.number for each in found.receipts], found.faults) == ([1, 2, 3], ())
    found = verify([three[2], three[0]], key.public_key())
    assert (found.gaps, found.is_proven) == (("receipt 2",), True)


def test_a_receipt_that_was_replaced_in_the_chain_is_noticed(
    three: list[SignedReceipt], key: Ed25519PrivateKey
) -> None:
    """By somebody who has the key, too."""
    forged = receipt.sign(replace(three[1].receipt, project="another"), key)
    found = verify([three[0], forged, three[2]], key.public_key())
    assert found.faults == ("receipt 3 doesn't follow from receipt 2: the chain is broken",)
    found = verify([three[1], forged], key.public_key())
    assert found.faults == ("there are two receipts 2 that differ",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no receipt"),
        ("[]", "it has no signature"),
        ("{}", "it has no signature"),
        ('{"signature": "", "format": 3}', "of format 3: this version reads 2"),
        ('{"signature": "", "format": 1}', "number: Field required"),
        ('{"signature": "%", "format": 1}', "no receipt"),
        ('{"signature": "", "signature": ""}', "a key stands in it twice"),
        ("\xff", "no receipt"),
    ],
)
def test_what_is_no_receipt_is_refused_by_its_name(text: str, why: str) -> None:
    with pytest.raises(ReceiptError, match="the file") as raised:
        receipt.read(text.encode("latin-1"), "the file")
    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (b' {"signature": "", "format": 9}', True),  # `read` says what is wrong with it
        (b'{"format": 1}', False),
        (b'{"signature": ', False),
        (b"{" + bytes(127) + b"DICM", False),
        (b"", False),
    ],
)
def test_what_has_no_signature_is_a_file_that_was_handed_over(
    tmp_path: Path, content: bytes, is_one: bool
) -> None:
    (tmp_path / "file").write_bytes(content)
    assert is_receipt(tmp_path / "file") is is_one
    assert not is_receipt(tmp_path)
