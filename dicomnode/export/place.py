"""Where a study can go: what every kind of destination has in common."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

from dicomnode.gate.receipt import SignedReceipt


class Place(Protocol):
    """Takes the files of one study."""

    def put(self, series_instance_uid: str, sop_instance_uid: str, file: bytes) -> None:
        """Returns when the file can't be lost there any more.

        Raises `ExportError` and `DeliveryRefusedError` where this study can't go there,
        `DeliveryError` and `OSError` where nothing can now.
        """

    def seal(self, signed: SignedReceipt) -> None:
        """All that the receipt names is there."""


class Destination(Protocol):
    """`name` is what the ledger calls it."""

    @property
    def name(self) -> str: ...

    def study(
        self, study_instance_uid: str, encodings: Collection[tuple[str, str]]
    ) -> AbstractContextManager[Place]:
        """`encodings`: the SOP Class and Transfer Syntax UIDs of the files that will come."""
