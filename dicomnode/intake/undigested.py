"""A stored object whose row still lacks its digests: hashing takes longer than all else does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dicomnode.dicom.digests import digests_of
from dicomnode.dicom.encoded import Scan
from dicomnode.domain import StoredInstance


@dataclass(frozen=True)
class UndigestedInstance:
    """`instance` without digests, the file it is in, and what was found in its data set."""

    instance: StoredInstance
    path: Path
    data_set_at: int
    found: Scan

    def digested(self) -> StoredInstance | None:
        """None where the file isn't there any more; raises `OSError` and `EOFError`."""
        try:
            found = digests_of(self.path, self.data_set_at, self.found)
        except FileNotFoundError:
            return None
        return replace(
            self.instance,
            file_sha256=found.file_sha256,
            pixel_sha256=found.pixel_sha256,
            data_set_sha256=found.data_set_sha256,
        )
