"""What a process may do that runs native decoders on a peer's bytes: compute, and answer.

Limits of memory and processor time, and a seccomp filter: no file can be opened, no connection
made, no process or thread started. What is open already can be read and written.
"""

from __future__ import annotations

import importlib
import os
import resource
from types import ModuleType

_ALLOWED_CALLS = (
    # What was opened before, and what is handed over by the parent.
    "read",
    "write",
    "lseek",
    "close",
    "fstat",
    "recvmsg",
    "recvfrom",
    "sendto",
    "sendmsg",
    # Memory.
    "brk",
    "munmap",
    "mremap",
    "madvise",
    # The interpreter's own.
    "futex",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "clock_gettime",
    "gettimeofday",
    "getrandom",
    "getpid",
    "gettid",
    "sched_yield",
    "exit",
    "exit_group",
)
_PROT_EXEC, _AT_EMPTY_PATH = 0x4, 0x1000
_EPERM = 1


def limit(memory_bytes: int, processor_seconds: int) -> None:
    """Address space and processor time of this process; no core file, which would hold pixels."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, processor_seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def library() -> ModuleType | None:
    """pyseccomp with libseccomp below it; None where either is missing."""
    try:
        return importlib.import_module("pyseccomp")
    except (ImportError, RuntimeError, OSError):
        return None


def filter_calls(seccomp: ModuleType | None) -> bool:
    """Forbid every system call but those that decoding needs, for good; False: not possible here.

    A forbidden call fails with EPERM.
    """
    if seccomp is None:
        return False
    rules = seccomp.SyscallFilter(seccomp.ERRNO(_EPERM))
    for name in _ALLOWED_CALLS:
        rules.add_rule(seccomp.ALLOW, name)
    no_code = seccomp.Arg(2, seccomp.MASKED_EQ, _PROT_EXEC, 0)
    for name in ("mmap", "mprotect"):
        rules.add_rule(seccomp.ALLOW, name, no_code)
    of_a_descriptor = seccomp.Arg(3, seccomp.MASKED_EQ, _AT_EMPTY_PATH, _AT_EMPTY_PATH)
    rules.add_rule(seccomp.ALLOW, "newfstatat", of_a_descriptor)
    try:
        rules.load()
    except OSError:
        return False
    return True


def silence() -> None:
    """Native decoders write what they find into the log; that may be a patient's."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
