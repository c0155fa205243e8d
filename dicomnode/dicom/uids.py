"""UIDs: of this implementation, and of results, which are the same for the same input.

So a re-run is idempotent in the PACS.
"""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("0f2f8a26-3a5b-5c35-9b0e-6d69636f6d6e")

# In every association and every file meta (PS3.7 D.3.3.2, PS3.10 7.1).
IMPLEMENTATION_CLASS_UID = "2.25.203919525239663350525960644678583126663"
IMPLEMENTATION_VERSION_NAME = "DICOMNODE_0_1"


def result_uid(*parts: str) -> str:
    """A UUIDv5 under 2.25 (PS3.5 B.2) of the parts, in their order.

    Each part is preceded by its length, so ("ab", "c") and ("a", "bc") differ.
    """
    if not parts:
        raise ValueError("a result UID needs at least one part")
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"
