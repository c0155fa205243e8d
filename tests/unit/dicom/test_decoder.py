"""The process that decodes: whatever becomes of it, the worker goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicomnode.dicom import decoder as module
from dicomnode.dicom import sandbox
from dicomnode.dicom.decoder import Decoder, Encoded
from dicomnode.dicom.decoder_process import ANSWER, Answer
from dicomnode.dicom.frames import WantedFrame
from dicomnode.dicom.volume import read_volume
from dicomnode.domain import RefusalCode
from dicomnode.errors import DecoderError, UnreadableObjectError
from tests.decoding import pid_of, process_of
from tests.factories import make_series
from tests.outcomes import outcome_of
from tests.stacks import only_stack

WANTED = WantedFrame(frame=0, frames=1, rows=32, columns=32, bits_allocated=16)


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with closing(Decoder()) as one:
        yield one


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_series(tmp_path / "made", slices=1, transfer_syntax=RLELossless)[0]


def values(decoder: Decoder, image: Path, wanted: WantedFrame = WANTED) -> Any:
    return decoder.values(Encoded(image, wanted, inflates=False))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_frames_come_as_they_were_encoded(decoder: Decoder, image: Path) -> None:
    np.testing.assert_array_equal(values(decoder, image), dcmread(image).pixel_array)


def test_one_process_serves_a_whole_series_and_ends_with_its_reader(tmp_path: Path) -> None:
    paths = make_series(tmp_path, slices=4, transfer_syntax=JPEG2000Lossless)
    with closing(Decoder()) as decoder:
        used = set()
        for path in paths:
            values(decoder, path)
            used.add(process_of(decoder))
    (pid,) = used
    wait_until(lambda: not is_running(pid))


def test_each_series_has_a_process_of_its_own(image: Path) -> None:
    used = []
    for _ in range(2):
        with closing(Decoder()) as decoder:
            values(decoder, image)
            used.append(process_of(decoder))
    assert len(set(used)) == 2


def test_a_process_that_was_killed_by_somebody_is_replaced_once(
    decoder: Decoder, image: Path
) -> None:
    expected = values(decoder, image)
    os.kill(process_of(decoder), signal.SIGKILL)
    np.testing.assert_array_equal(values(decoder, image), expected)
    os.kill(process_of(decoder), signal.SIGKILL)
    with pytest.raises(UnreadableObjectError, match="crashed"):
        values(decoder, image)


def test_a_decoder_that_crashes_each_time_costs_the_series_its_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make_series(tmp_path, slices=5, transfer_syntax=RLELossless)
    ask = module._Child.ask

    def crashing(child: Any, frame: Encoded) -> Any:
        signal.pidfd_send_signal(child._handle, signal.SIGSEGV)
        wait_until(lambda: not is_running(pid_of(child._handle)))
        return ask(child, frame)

    monkeypatch.setattr(module._Child, "ask", crashing)
    (aside,) = outcome_of(stack).set_aside
    assert aside.refusal.code is RefusalCode.UNREADABLE_PIXELS
    assert "RLE Lossless can't be decoded: its decoder crashed" in aside.refusal.sentence
    monkeypatch.undo()
    assert len(outcome_of(stack).volumes) == 1


def test_a_decoder_that_hangs_is_given_up_and_killed(
    decoder: Decoder, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values(decoder, image)
    pid = process_of(decoder)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "FRAME_SECONDS", 0.5)
    with pytest.raises(UnreadableObjectError, match=r"longer than 0\.5 s"):
        values(decoder, image)
    wait_until(lambda: not is_running(pid))


def confined(script: str) -> subprocess.CompletedProcess[bytes]:
    """A process with 256 MiB and a second of processor time, as a decoder has its own."""
    limits = "from dicomnode.dicom import sandbox\nsandbox.limit(1 << 28, 1)\n"
    command = [sys.executable, "-c", limits + script]
    return subprocess.run(command, env=environment(), capture_output=True, timeout=120)


def test_processor_time_is_bounded() -> None:
    assert confined("while True: pass").returncode in (-signal.SIGXCPU, -signal.SIGKILL)


def test_memory_is_bounded() -> None:
    assert b"MemoryError" in confined("bytearray(1 << 28)").stderr


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.pack(Answer.OUT_OF_MEMORY, 0),
        ANSWER.pack(Answer.VALUES, 32 * 32 * 2 + 1),
        ANSWER.pack(Answer.VALUES, 32 * 32 * 2) + b"too little",
        ANSWER.pack(Answer.REFUSED, 1 << 40),
        ANSWER.pack(99, 0),
        b"",
    ],
    ids=["out of memory", "too long", "cut off", "endless sentence", "no answer", "nothing"],
)
def test_an_answer_that_is_none_is_refused(
    answer: bytes, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._template, "child", lambda memory: lying(answer))
    with closing(Decoder()) as decoder, pytest.raises(UnreadableObjectError):
        values(decoder, image)


def test_what_a_decoder_says_steers_no_terminal(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = b"\x1b[2Jgone\nlevel=ERROR"
    answer = ANSWER.pack(Answer.REFUSED, len(said)) + said
    monkeypatch.setattr(module._template, "child", lambda memory: lying(answer))
    with closing(Decoder()) as decoder, pytest.raises(UnreadableObjectError) as refused:
        values(decoder, image)
    assert str(refused.value) == "?[2Jgone?level=ERROR"


def lying(answer: bytes) -> tuple[socket.socket, int]:
    """A child that begins well, takes a request and answers what it likes."""
    ours, theirs = socket.socketpair()
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def serve() -> None:
        with theirs:
            theirs.sendall(ANSWER.pack(Answer.READY, 1) + b"\1")
            theirs.recv(100)
            theirs.sendall(answer)
        sleeper.wait()

    threading.Thread(target=serve, daemon=True).start()
    return ours, os.pidfd_open(sleeper.pid)


def test_where_no_process_can_be_started_the_examination_fails(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_template", module._Template())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with closing(Decoder()) as decoder, pytest.raises(DecoderError, match="nowhere"):
        values(decoder, image)


def test_a_template_that_died_is_started_again(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_template", module._Template())
    for _ in range(2):
        with closing(Decoder()) as decoder:
            values(decoder, image)
        process = module._template._process
        assert process is not None
        process.kill()
        process.wait()


def test_no_secret_of_the_worker_goes_along(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMNODE_DATABASE__URL", "postgresql://node:secret@db/node")
    monkeypatch.setattr(module, "_template", module._Template())
    with closing(Decoder()) as decoder:
        values(decoder, image)
        seen = Path(f"/proc/{process_of(decoder)}/environ").read_bytes()
        open_files = len(list(Path(f"/proc/{process_of(decoder)}/fd").iterdir()))
    assert b"secret" not in seen
    assert open_files == 4  # three of nothing, and its reader's


def test_the_next_frame_is_decoded_ahead_and_comes_in_its_turn(
    decoder: Decoder, tmp_path: Path
) -> None:
    paths = make_series(tmp_path, slices=6, transfer_syntax=RLELossless)
    frames = [Encoded(path, WANTED, inflates=False) for path in paths]
    for frame, following in zip(frames, [*frames[1:], None], strict=True):
        found = decoder.values(frame, following)
        np.testing.assert_array_equal(found, dcmread(frame.path).pixel_array)


def test_what_was_decoded_ahead_is_decoded_again_by_another_process(
    decoder: Decoder, tmp_path: Path
) -> None:
    paths = make_series(tmp_path, slices=2, transfer_syntax=RLELossless)
    first, second = (Encoded(path, WANTED, inflates=False) for path in paths)
    decoder.values(first, second)
    os.kill(process_of(decoder), signal.SIGKILL)
    np.testing.assert_array_equal(decoder.values(second), dcmread(paths[1]).pixel_array)


def test_a_file_that_is_gone_is_no_fault_of_the_series(tmp_path: Path) -> None:
    paths = make_series(tmp_path, slices=5, transfer_syntax=RLELossless)
    stack = only_stack(paths)
    paths[2].unlink()
    with pytest.raises(FileNotFoundError):
        read_volume(stack)


def environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath}


FORBIDDEN = {
    "open a file": "open('/etc/hostname')",
    "write a file": "os.open('/tmp/x', os.O_CREAT | os.O_WRONLY)",
    "look for a file": "os.stat('/etc')",
    "connect": "socket.socket().connect(('127.0.0.1', 9))",
    "listen": "socket.socketpair()",
    "fork": "os.fork()",
    "start a program": "os.execv('/bin/true', ['true'])",
    "start a thread": "threading.Thread(target=print).start()",
    "signal another": "os.kill(os.getppid(), 15)",
    "trace another": "libc('ptrace', 16, os.getppid(), 0, 0)",
    "load code": "mmap.mmap(-1, 4096, prot=7)",
    "turn data into code": "libc('mprotect', PAGE, 4096, 7)",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))",
}


@pytest.mark.skipif(sandbox.library() is None, reason="libseccomp2 is not installed")
def test_a_confined_process_computes_and_can_do_nothing_else() -> None:
    script = f"""
import ctypes, mmap, os, resource, socket, threading
from dicomnode.dicom import sandbox
C = ctypes.CDLL(None, use_errno=True)
BUFFER = mmap.mmap(-1, 4096)
PAGE = ctypes.addressof(ctypes.c_char.from_buffer(BUFFER))
def libc(name, *numbers):
    if getattr(C, name)(*map(ctypes.c_void_p, numbers)) == -1:
        raise OSError(ctypes.get_errno(), name)
if not sandbox.filter_calls(sandbox.library()):
    print("no filter")
    os._exit(0)
for name, attempt in {FORBIDDEN!r}.items():
    try:
        exec(attempt)
    except (OSError, RuntimeError, ValueError):
        continue
    os.write(1, (name + "\\n").encode())
os.write(1, b"end")
os._exit(0)
"""
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, timeout=60
    )
    if found.stdout.startswith(b"no filter"):
        pytest.skip("this kernel filters no system calls")
    assert (found.stdout, found.stderr) == (b"end", b"")
