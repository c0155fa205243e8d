"""A sender that stores object after object over one association, and tells each status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE


@contextmanager
def sending(port: int, called: str, calling: str) -> Iterator[Callable[[Path], int]]:
    entity = AE(ae_title=calling)
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    yield lambda file: int(association.send_c_store(file).Status)
    association.release()
