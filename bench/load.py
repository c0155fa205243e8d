"""Eight senders at once, for as long as it takes: memory and latency over time, and nothing lost.

    PYTHONPATH=. python bench/load.py                      # 50,000 instances, an hour at most
    PYTHONPATH=. python bench/load.py --seconds 120 --kib 512 --processes 2

Starts the receiving role on loopback. Each sender stores series of a hundred instances, one
association each, over and over, every instance another one. At the end each acknowledged instance
has to be in the spool byte for byte and to have its row; the exit code is 1 where one is not. There
are ten slices of the time: instances a second, the latency of an answer as the sender sees
it, and the memory of the node.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TextIO

from pydicom import dcmread
from pydicom.uid import UID, MRImageStorage

from bench.raw_association import C_STORE_RQ, RawAssociation, command_set, message
from dicomnode.tracking.spool import Spool, object_name
from tests.factories import make_series
from tests.integration.scp.receiving import Node, data_set_bytes, running, shared_settings

PER_SERIES = 100
SLICES = 10
# Of the lengths that `instance_uid` and `series_uid` have, so that they can be put in their places.
_INSTANCE, _SERIES = "1.2.826.0.1.3680043.9.7.", "1.2.826.0.1.3680043.9.8."


@dataclass(frozen=True)
class Sent:
    """An acknowledged instance: when its answer came, and how long that took."""

    sender: int
    number: int
    at: float
    seconds: float


def instance_uid(sender: int, number: int) -> str:
    return f"{_INSTANCE}{1000 + sender}.{1_000_000 + number}"


def series_uid(sender: int, number: int) -> str:
    return f"{_SERIES}{1000 + sender}.{1_000_000 + number // PER_SERIES}"


def template(folder: Path, kib: int) -> bytes:
    """An encoded MR image of about that size, with the UIDs of instance 0 of sender 0."""
    rows = max(kib * 1024 // 2 // 256, 8)
    (path,) = make_series(folder, slices=1, rows=rows, columns=256)
    image = dcmread(path)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(instance_uid(0, 0))
    image.SeriesInstanceUID = series_uid(0, 0)
    image.save_as(path)
    return data_set_bytes(path)


def encoded(like: bytes, sender: int, number: int) -> bytes:
    """The data set of one instance; no two are alike."""
    own = like.replace(instance_uid(0, 0).encode(), instance_uid(sender, number).encode())
    own = own.replace(series_uid(0, 0).encode(), series_uid(sender, number).encode())
    mark = f"{sender:08d}{number:016d}".encode()
    return own[: -len(mark)] + mark


def sender(
    number: int, port: int, like: bytes, given: argparse.Namespace, results: str, begin: Barrier
) -> None:
    """Writes a line for each acknowledged instance, and one for whatever else was answered."""
    count = -(-given.instances // given.senders)
    begin.wait()
    until = time.time() + given.seconds
    with Path(results).open("w", encoding="ascii") as out:
        for first in range(0, count, PER_SERIES):
            if time.time() >= until:
                return
            instances = range(first, min(first + PER_SERIES, count))
            try:
                one_series(port, like, number, instances, until, out)
            except OSError as error:  # the node hung up; it is asked again with the next series
                out.write(f"{type(error).__name__} {first} {time.time():.4f} 0\n")


def one_series(
    port: int, like: bytes, number: int, instances: Sequence[int], until: float, out: TextIO
) -> None:
    with RawAssociation(port, MRImageStorage) as association:
        for instance in instances:
            if time.time() >= until:
                return
            request = command_set(C_STORE_RQ, MRImageStorage, instance_uid(number, instance))
            data = encoded(like, number, instance)
            began = time.perf_counter()
            status = association.exchange(message(request, data, association.maximum_pdu_bytes))
            seconds = time.perf_counter() - began
            out.write(f"{status} {instance} {time.time():.4f} {seconds:.6f}\n")


def memory_bytes(pid: int) -> int:
    """Of a process and its children, with the pages that they share counted once for each."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() + sum(memory_bytes(int(child)) for child in children)


def watch_memory(node: Node, stop: threading.Event, found: list[tuple[float, int]]) -> None:
    while not stop.wait(0.5):
        found.append((time.time(), memory_bytes(node.process.pid)))


def load(
    node: Node, like: bytes, given: argparse.Namespace, folder: Path
) -> tuple[list[Sent], Counter[str], list[tuple[float, int]]]:
    """What was acknowledged, how often each other status came, and the memory over time."""
    spawn = multiprocessing.get_context("spawn")
    begin = spawn.Barrier(given.senders)
    files = [folder / f"sender{number}" for number in range(given.senders)]
    senders = [
        spawn.Process(
            target=sender, args=(number, node.settings.scp.port, like, given, str(file), begin)
        )
        for number, file in enumerate(files)
    ]
    stop, memory = threading.Event(), list[tuple[float, int]]()
    watching = threading.Thread(target=watch_memory, args=(node, stop, memory))
    watching.start()
    for process in senders:
        process.start()
    for process in senders:
        process.join()
    stop.set()
    watching.join()
    lines = [(n, line.split()) for n, file in enumerate(files) for line in file.open()]
    sent = [
        Sent(n, int(i), float(at), float(s)) for n, (status, i, at, s) in lines if status == "0"
    ]
    others = Counter(status for _, (status, *_) in lines if status != "0")
    return sent, others, memory


def lost(node: Node, like: bytes, sent: Sequence[Sent]) -> int:
    """Acknowledged instances that are not in the spool byte for byte, or get no row in a minute."""
    spool = Spool(node.settings.spool_folder)
    missing, deadline = 0, time.time() + 60
    paths = {spool.path(object_name(instance_uid(one.sender, one.number))): one for one in sent}
    for path, one in paths.items():
        wanted = encoded(like, one.sender, one.number)
        if not path.is_file() or data_set_bytes(path) != wanted:
            missing += 1
    while (without := paths.keys() - node.rows()) and time.time() < deadline:
        time.sleep(1)
    return missing + len(without)


def show(sent: list[Sent], memory: list[tuple[float, int]]) -> None:
    """Ten slices of the time from the first answer to the last."""
    began, ended = min(one.at for one in sent), max(one.at for one in sent)
    width = (ended - began) / SLICES
    print("  from s   instances/s   median ms   p95 ms   p99 ms   longest ms   memory MiB")
    for number in range(SLICES):
        start, end = began + number * width, began + (number + 1) * width
        inside = sorted(one.seconds * 1000 for one in sent if start <= one.at <= end) or [0.0]
        mib = max((size for at, size in memory if start <= at <= end), default=0) / 2**20
        middle, late, latest = (inside[int(len(inside) * q)] for q in (0.5, 0.95, 0.99))
        print(
            f"{start - began:8.0f} {len(inside) / width:13.0f} {middle:11.1f} {late:8.1f} "
            f"{latest:8.1f} {inside[-1]:12.1f} {mib:12.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="then no more are sent")
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--processes", type=int, default=1, help="scp.processes of the node")
    parser.add_argument("--kib", type=int, default=128, help="size of an instance")
    parser.add_argument("--folder", type=Path, help="where the spool lies for the time of the run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        like = template(folder / "made", given.kib)
        settings = shared_settings(folder, processes=given.processes)
        with running(settings, folder / "node") as node:
            sent, refused, memory = load(node, like, given, folder)
            show(sent, memory)
            missing = lost(node, like, sent)
    size = sum(len(like) for _ in sent) / 1e9
    print(f"{len(sent)} instances ({size:.1f} GB) acknowledged, {refused.total()} not "
          f"{dict(refused) or ''}, {missing} lost; "
          f"load average {os.getloadavg()[0]:.1f}")  # fmt: skip
    sys.exit(1 if missing or refused else 0)


if __name__ == "__main__":
    main()
