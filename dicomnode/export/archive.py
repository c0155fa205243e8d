"""A research archive as a destination: each object is sent by C-STORE, as it is encoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from dicomnode.config import DestinationSettings
from dicomnode.delivery.as_stored import Archive
from dicomnode.gate.receipt import SignedReceipt


class ArchiveDestination:
    """One of `[[archives]]`."""

    def __init__(self, archive: DestinationSettings, calling_ae_title: str) -> None:
        self._archive = archive
        self._calling_ae_title = calling_ae_title

    @property
    def name(self) -> str:
        return self._archive.name

    @contextmanager
    def study(
        self, study_instance_uid: str, encodings: Collection[tuple[str, str]]
    ) -> Iterator[ArchivePlace]:
        with Archive(self._archive, self._calling_ae_title, encodings) as archive:
            yield ArchivePlace(archive)


class ArchivePlace:
    """One association, on which the objects of a study go."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def put(self, series_instance_uid: str, sop_instance_uid: str, file: bytes) -> None:
        self._archive.send(sop_instance_uid, file)

    def seal(self, signed: SignedReceipt) -> None:
        """An archive takes DICOM objects only: the receipt is in the database (gate receipts)."""
