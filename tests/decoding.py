"""What the process of a decoder is and holds, as the kernel says."""

from __future__ import annotations

import os
from pathlib import Path

from dicomnode.dicom.decoder import Decoder


def pid_of(handle: int) -> int:
    """Of the process that a pidfd is of."""
    return int(Path(f"/proc/self/fdinfo/{handle}").read_text().split("Pid:")[1].split()[0])


def process_of(decoder: Decoder) -> int:
    assert decoder._child is not None
    return pid_of(decoder._child._handle)


def peak_bytes(decoder: Decoder) -> int:
    """The most memory that it held (VmHWM)."""
    status = Path(f"/proc/{process_of(decoder)}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def processor_seconds(decoder: Decoder) -> float:
    """Spent by it so far, by user and system."""
    fields = Path(f"/proc/{process_of(decoder)}/stat").read_text().rsplit(")")[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
