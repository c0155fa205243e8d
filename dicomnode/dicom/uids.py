"""UIDs of results: the same input gives the same UID, so a re-run is idempotent in the PACS."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("0f2f8a26-3a5b-5c35-9b0e-6d69636f6d6e")

IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.uuid5(_NAMESPACE, 'implementation').int}"


def result_uid(*parts: str) -> str:
    """A UUIDv5 under 2.25 (PS3.5 B.2) of the parts, in their order.

    Each part is preceded by its length, so ("ab", "c") and ("a", "bc") differ.
    """
    if not parts:
        raise ValueError("a result UID needs at least one part")
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"
