"""The DICOM File Format of received objects (PS3.10 section 7): file meta, written and read.

The data set follows exactly as it came. Who sent it stands in the file meta, so that a lost
database can be rebuilt from the files alone.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dicomnode.dicom.encoded import EXPLICIT_VR_LITTLE_ENDIAN, claimed_header, elements, peek
from dicomnode.dicom.uid_syntax import only_uid
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnode.domain import InstanceHeader, StoredInstance
from dicomnode.errors import UnreadableObjectError

_PREFIX = bytes(128) + b"DICM"
_META_GROUP = b"\x02\0"
_GROUP_LENGTH_END = len(_PREFIX) + 12
_ADDRESS_SCHEME = "dicom://"
_LARGEST_FILE_META_BYTES = 65536
_LAST_PLAIN_TAG = 0x00020018  # Receiving Application Entity Title
# So much of a file holds its file meta, if it is one.
HEAD_BYTES = _GROUP_LENGTH_END + _LARGEST_FILE_META_BYTES


@dataclass(frozen=True)
class FileMeta:
    """What a file says of its data set outside of it (PS3.10 Table 7.1-1); "" where nothing."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def encode_file_meta(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    calling_ae_title: str,
    called_ae_title: str,
    peer_address: str,
) -> bytes:
    """Preamble, prefix and group 0002 (PS3.10 7.1) for an object as it was received."""
    group = b"".join(
        (
            struct.pack("<HH2sHL", 2, 0x0001, b"OB", 0, 2) + b"\x00\x01",
            _short(0x0002, b"UI", sop_class_uid),
            _short(0x0003, b"UI", sop_instance_uid),
            _short(0x0010, b"UI", transfer_syntax_uid),
            _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _short(0x0016, b"AE", calling_ae_title),
            _short(0x0017, b"AE", calling_ae_title),
            _short(0x0018, b"AE", called_ae_title),
            _long(0x0026, b"UR", f"{_ADDRESS_SCHEME}{peer_address}" if peer_address else ""),
        )
    )
    return _PREFIX + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(group)) + group


def read_received(name: str, path: Path) -> StoredInstance:
    """The index record of a file in the spool, from its bytes alone.

    The time of receipt is the file's; the association is no longer known. Raises
    `UnreadableObjectError` for a file that is no whole DICOM file.
    """
    data = path.read_bytes()
    offset = data_set_offset(data)
    meta = meta_values(data, offset)
    found = peek(data[offset:], meta.get(0x00020010, ""))
    return StoredInstance(
        header=found.header,
        name=name,
        size_bytes=len(data),
        file_sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=found.pixel_sha256,
        data_set_sha256=found.data_set_sha256,
        received_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        calling_ae_title=meta.get(0x00020016, ""),
        called_ae_title=meta.get(0x00020018, ""),
        peer_address=meta.get(0x00020026, "").removeprefix(_ADDRESS_SCHEME),
    )


def read_claims(path: Path) -> InstanceHeader:
    """What a received file says of itself, however damaged; "" where nothing.

    Raises `OSError`.
    """
    data = path.read_bytes()
    try:
        offset = data_set_offset(data)
        meta = meta_values(data, offset)
    except UnreadableObjectError:
        return claimed_header(b"", "")
    found = claimed_header(data[offset:], meta.get(0x00020010, ""))
    sop_instance_uid = found.sop_instance_uid or only_uid(meta.get(0x00020003, ""))
    return replace(found, sop_instance_uid=sop_instance_uid)


def split_file(data: bytes) -> tuple[FileMeta, bytes]:
    """File meta and encoded data set; raises `UnreadableObjectError` where there is no meta."""
    offset = data_set_offset(data)
    meta = meta_values(data, offset)
    uids = (meta.get(tag, "") for tag in (0x00020002, 0x00020003, 0x00020010))
    return FileMeta(*uids), data[offset:]


def has_plain_meta(data: bytes) -> bool:
    """Whether what precedes the data set can show nothing: an empty preamble, and only UIDs,
    versions and AE titles (PS3.10 Table 7.1-1), each once, no private information.

    Raises `UnreadableObjectError`.
    """
    group = data[len(_PREFIX) : data_set_offset(data)]
    found = list(elements(group, EXPLICIT_VR_LITTLE_ENDIAN))
    tags = [element.tag for element in found]
    is_known = tags == sorted(set(tags)) and all(tag <= _LAST_PLAIN_TAG for tag in tags)
    return is_known and all(element.length <= 64 for element in found) and not any(data[:128])


def data_set_offset(data: bytes) -> int:
    """Where the data set begins; raises `UnreadableObjectError` where there is no file meta."""
    start = len(_PREFIX)
    if data[128:start] != b"DICM" or data[start : start + 2] != _META_GROUP:
        raise UnreadableObjectError("no DICOM file: it has no file meta information")
    if data[start : _GROUP_LENGTH_END - 4] != _META_GROUP + b"\0\0UL\x04\0":
        return _end_of_meta(data)
    if len(data) < _GROUP_LENGTH_END:
        raise UnreadableObjectError("the file meta information is cut off")
    length: int = struct.unpack_from("<L", data, 140)[0]
    if length > _LARGEST_FILE_META_BYTES or _GROUP_LENGTH_END + length > len(data):
        raise UnreadableObjectError("the file meta information is cut off")
    return _GROUP_LENGTH_END + length


def _end_of_meta(data: bytes) -> int:
    """Where group 0002 ends in a file that doesn't say how long it is, as some tools write it."""
    end = start = len(_PREFIX)
    with suppress(UnreadableObjectError):  # what follows may have another encoding
        for element in elements(
            data[start : start + _LARGEST_FILE_META_BYTES], EXPLICIT_VR_LITTLE_ENDIAN
        ):
            if element.tag >> 16 != 2:
                break
            end = start + element.start + element.length
    if end == start or data[end : end + 2] in (b"", _META_GROUP):
        raise UnreadableObjectError("the file meta information is cut off")
    return end


def meta_values(data: bytes, data_set_begins: int) -> Mapping[int, str]:
    """The elements of group 0002 as text."""
    return _meta_values(data[len(_PREFIX) : data_set_begins])


def _meta_values(group: bytes) -> Mapping[int, str]:
    return {
        element.tag: group[element.start : element.start + element.length]
        .decode("ascii", "replace")
        .strip(" \0")
        for element in elements(group, EXPLICIT_VR_LITTLE_ENDIAN)
    }


def _padded(vr: bytes, value: str) -> bytes:
    encoded = value.encode("ascii", "replace")
    return encoded + (b"\0" if vr == b"UI" else b" ") * (len(encoded) % 2)


def _short(element: int, vr: bytes, value: str) -> bytes:
    encoded = _padded(vr, value)
    return struct.pack("<HH2sH", 2, element, vr, len(encoded)) + encoded


def _long(element: int, vr: bytes, value: str) -> bytes:
    encoded = _padded(vr, value)
    return struct.pack("<HH2sHL", 2, element, vr, 0, len(encoded)) + encoded
