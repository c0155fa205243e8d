"""C-STORE of objects exactly as they are encoded (PS3.4 Annex B): what was checked is what leaves.

pynetdicom sends a file in pieces, undecoded, where it is given a path. The path here is that of
memory which nobody else can open, so nothing changes between the check and the sending.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from pydicom import Dataset
from pynetdicom import _config as pynetdicom_config
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from dicomnode.config import DestinationSettings
from dicomnode.delivery.association import associated
from dicomnode.delivery.store import judge, remote_entity
from dicomnode.errors import DeliveryError, DeliveryRefusedError

# SOP Class UID and Transfer Syntax UID: each pair is a context of its own, nothing is converted.
Encoding = tuple[str, str]
_MOST_CONTEXTS = 128


class Archive:
    """A peer that objects are sent to one by one; `with` closes what is open.

    The association is opened for the first object, and again where the peer has ended it.
    """

    def __init__(
        self,
        destination: DestinationSettings,
        calling_ae_title: str,
        encodings: Collection[Encoding],
    ) -> None:
        self._remote = remote_entity(destination, calling_ae_title)
        self._encodings = list(dict.fromkeys(encodings))
        self._stack = ExitStack()
        self._association: Association | None = None

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def send(self, sop_instance_uid: str, *parts: bytes) -> None:
        """Store the DICOM file (PS3.10) that the parts make up; returns when the peer has it.

        Raises `DeliveryError` where it may succeed later, `DeliveryRefusedError` where the peer
        rules it out.
        """
        try:
            status = self._store(parts)
        except ValueError:
            raise DeliveryRefusedError(
                f"{self._remote} accepts no presentation context for {sop_instance_uid} as it is "
                "encoded; nothing is converted on the way"
            ) from None
        except RuntimeError:
            status = None
        if status is None:
            self.close()
            raise DeliveryError(
                f"{self._remote} aborted or did not answer in time while taking {sop_instance_uid}"
            )
        judge(status, str(self._remote), sop_instance_uid)

    def close(self) -> None:
        self._association = None
        self._stack.close()

    def _store(self, parts: Sequence[bytes]) -> int | None:
        """The status; None where there was no answer. Once more on a new association, where the
        one that was open may have been too old for the peer."""
        pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True
        is_old = self._association is not None
        with _in_memory(parts) as path:
            try:
                answer = self._open().send_c_store(path)
            except RuntimeError:
                answer = Dataset()
            if is_old and "Status" not in answer:
                self.close()
                answer = self._open().send_c_store(path)
        return int(answer.Status) if "Status" in answer else None

    def _open(self) -> Association:
        if self._association is not None and self._association.is_established:
            return self._association
        self.close()
        if len(self._encodings) > _MOST_CONTEXTS:
            raise DeliveryRefusedError("more SOP Classes and syntaxes than one association takes")
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in self._encodings]
        self._association = self._stack.enter_context(associated(self._remote, contexts))
        return self._association


@contextmanager
def _in_memory(parts: Sequence[bytes]) -> Iterator[Path]:
    descriptor = os.memfd_create("object")
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor, view) :]
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
