"""A sender that stores object after object over one association, and tells each status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association


@contextmanager
def associated(port: int, called: str, calling: str) -> Iterator[Association]:
    entity = AE(ae_title=calling)
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    yield association
    association.release()


@contextmanager
def sending(port: int, called: str, calling: str) -> Iterator[Callable[[Path], int]]:
    with associated(port, called, calling) as association:
        yield lambda file: int(association.send_c_store(file).Status)
