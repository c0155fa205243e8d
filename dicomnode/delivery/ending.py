"""The end of a process that may be in the middle of a delivery."""

from __future__ import annotations

import threading

from pynetdicom.association import Association


def abort_open_associations() -> int:
    """Tell each peer (A-ABORT, PS3.8 9.3.8) rather than let it wait; how many there were.

    What was being sent is sent again by the next worker: its UIDs are the same.
    """
    threads = threading.enumerate()
    open_ = [one for one in threads if isinstance(one, Association) and one.is_established]
    for association in open_:
        association.abort()
    return len(open_)
