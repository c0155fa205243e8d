"""Receiving: `dicomnode scp` against dcmtk's storescp and Orthanc, images a second and their price.

    PYTHONPATH=. python bench/receive.py [--short] [--images 300] [--json FILE]

CT 512x512 and MR 256x256, 16 bits, one and four associations, sent by dcmtk's storescu and by a
sender of our own that is not the bottleneck (`raw_association.py`). The receivers take turns in
each round, each is told nothing but where to listen, what it is called and the longest PDU
(131,072 bytes for all), and after each run must hold every image that it acknowledged. dicomnode
and Orthanc sync each file before they answer, storescp does not; what waits to be written is
written (`sync`) before each run. The time is that from the first connection to the last
release, with storescu also that of its start. Processor time goes on until the receiver rests.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from multiprocessing.pool import Pool
from pathlib import Path

from bench import receivers, results
from bench.processes import settled_cpu_seconds, watched_peak
from bench.raw_association import C_STORE_RQ, RawAssociation, command_set, message
from bench.receivers import DCMTK_ENVIRONMENT, Receiver
from dicomnode.dicom.encoded import peek
from dicomnode.dicom.file_format import split_file
from tests.e2e.site import missing_peers
from tests.factories import make_series

NEW_UIDS = ("/usr/bin/storescu", "-aec", "DICOMNODE", "+II", "+IR", "100000")
SIZES = {"CT": 512, "MR": 256}
DISTINCT = 10
MOST_ASSOCIATIONS = 4
COLUMNS = (
    "images",
    "sender",
    "associations",
    "dicomnode, images/s",
    "storescp",
    "Orthanc",
    "of storescp",
    "of Orthanc",
    "CPU s per 1,000 images",
    "peak MiB of a process",
)
Send = Callable[[int, int], float]


@dataclass
class Found:
    """Of one receiver in one case, a value for each round."""

    images_per_second: list[float] = field(default_factory=list)
    cpu_seconds_per_1000: list[float] = field(default_factory=list)
    peak_bytes: int = 0


@dataclass(frozen=True)
class Case:
    modality: str
    sender: str
    associations: int

    @property
    def cells(self) -> list[str]:
        size = SIZES[self.modality]
        return [f"{self.modality} {size}x{size}", self.sender, str(self.associations)]


class Image:
    """A message that is encoded once, and sent again and again under other UIDs."""

    def __init__(self, path: Path, maximum_pdu_bytes: int) -> None:
        meta, data_set = split_file(path.read_bytes())
        self._uid = meta.sop_instance_uid
        self._series = peek(data_set, meta.transfer_syntax_uid).header.series_instance_uid
        command = command_set(C_STORE_RQ, meta.sop_class_uid, self._uid)
        self.message = message(command, data_set, maximum_pdu_bytes)
        self._places = [self._find(uid) for uid in (self._uid, self._series)]

    def rename(self, sop_instance_uid: str, series_instance_uid: str) -> None:
        for uid, places in zip((sop_instance_uid, series_instance_uid), self._places, strict=True):
            for at in places:
                self.message[at : at + len(uid)] = uid.encode()

    def new_uids(self) -> tuple[str, str]:
        """As long as the ones that are there."""
        return _uid_as_long_as(self._uid), _uid_as_long_as(self._series)

    def _find(self, uid: str) -> list[int]:
        """The headers lie before the pixels, in the first kilobytes."""
        places, at = [], -1
        while (at := self.message.find(uid.encode(), at + 1, 16384)) >= 0:
            places.append(at)
        return places


def _uid_as_long_as(uid: str) -> str:
    digits = len(uid) - len("2.25.")
    return f"2.25.1{str(uuid.uuid4().int).zfill(39)[-(digits - 1) :]}"


def replay(port: int, paths: Sequence[Path], sop_class_uid: str, count: int) -> tuple[float, float]:
    """One association with a series of its own; when it began and ended."""
    began = time.monotonic()
    with RawAssociation(port, sop_class_uid) as association:
        images = [Image(path, association.maximum_pdu_bytes) for path in paths]
        _, series = images[0].new_uids()
        for number in range(count):
            image = images[number % len(images)]
            uid, _ = image.new_uids()
            image.rename(uid, series)
            if status := association.exchange(image.message):
                raise ConnectionError(f"an image was answered {status:#06x}")
    return began, time.monotonic()


def replayed(
    pool: Pool, paths: Sequence[Path], sop_class_uid: str, port: int, counts: Sequence[int]
) -> float:
    """Seconds; one association for each of `counts`."""
    work = [(port, paths, sop_class_uid, count) for count in counts]
    times = pool.starmap(replay, work, chunksize=1)
    return max(end for _, end in times) - min(begin for begin, _ in times)


def stored_by_dcmtk(paths: Sequence[Path], port: int, counts: Sequence[int]) -> float:
    """Seconds; each process sends every file `count / len(paths)` times under new UIDs."""
    files = [str(path) for path in paths]
    began = time.monotonic()
    senders = [
        subprocess.Popen(
            [*NEW_UIDS, "--repeat", str(count // len(paths)), "127.0.0.1", str(port), *files],
            env=DCMTK_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for count in counts
    ]
    said = [sender.communicate()[0] for sender in senders]
    seconds = time.monotonic() - began
    for sender, text in zip(senders, said, strict=True):
        if sender.returncode:
            raise SystemExit(f"storescu failed: {text.decode(errors='replace')[-1000:]}")
    return seconds


def run_case(
    case: Case, paths: Sequence[Path], pool: Pool, folder: Path, given: argparse.Namespace
) -> dict[str, Found]:
    """Each receiver is new, gets some images to warm up, and then takes turns with the others."""
    sop_class = split_file(paths[0].read_bytes())[0].sop_class_uid
    share = max(given.images // case.associations // DISTINCT, 1) * DISTINCT

    def send(port: int, images: int) -> float:
        counts = [images] * case.associations
        if case.sender == "replay":
            return replayed(pool, paths, sop_class, port, counts)
        return stored_by_dcmtk(paths, port, counts)

    with ExitStack() as stack:
        makers = (receivers.node, receivers.storescp, receivers.orthanc)
        running = [stack.enter_context(make(folder / make.__name__)) for make in makers]
        found = {receiver.name: Found() for receiver in running}
        for receiver in running:
            send(receiver.port, DISTINCT)
        for number in range(given.rounds):
            turn = number % len(running)
            for receiver in running[turn:] + running[:turn]:
                measure(receiver, send, share, case.associations, found[receiver.name], folder)
    return found


def measure(
    receiver: Receiver, send: Send, share: int, associations: int, found: Found, folder: Path
) -> None:
    subprocess.run(["sync", "--file-system", str(folder)], check=True)
    pid, before = receiver.process.pid, receiver.stored()
    spent = settled_cpu_seconds(pid)
    with watched_peak(pid) as peak:
        seconds = send(receiver.port, share)
        spent = settled_cpu_seconds(pid) - spent
    images = share * associations
    if (kept := receiver.stored() - before) != images:
        raise SystemExit(f"{receiver.name} acknowledged {images} images and holds {kept}")
    found.images_per_second.append(images / seconds)
    found.cpu_seconds_per_1000.append(spent / images * 1000)
    found.peak_bytes = max(found.peak_bytes, peak())


def report(
    found: dict[Case, dict[str, Found]], loads: Sequence[float], images: int
) -> results.Report:
    rows = []
    for case, each in found.items():
        node, dcmtk, orthanc = each.values()
        speeds = [f"{statistics.median(one.images_per_second):.0f}" for one in each.values()]
        ratios = [
            f"{results.ratio(node.images_per_second, other.images_per_second):.2f}"
            for other in (dcmtk, orthanc)
        ]
        prices = [f"{statistics.median(one.cpu_seconds_per_1000):.2f}" for one in each.values()]
        peaks = [f"{one.peak_bytes / 2**20:.0f}" for one in each.values()]
        rows.append([*case.cells, *speeds, *ratios, *map(" / ".join, (prices, peaks))])
    return results.Report(
        title="Receiving",
        columns=COLUMNS,
        rows=rows,
        remarks=[
            f"{images} images a round. CPU and memory: dicomnode / storescp / Orthanc. dicomnode "
            "(one process, SQLite) and Orthanc sync each file before they answer, storescp "
            "(a process an association) does not."
        ],
        goals=goals(found),
        figures=[
            asdict(case) | {name: asdict(one) for name, one in each.items()}
            for case, each in found.items()
        ],
        load_averages=loads,
    )


def goals(found: dict[Case, dict[str, Found]]) -> list[results.Goal]:
    def ratios(of: str, value: str) -> list[float]:
        return [
            results.ratio(getattr(each["dicomnode"], value), getattr(each[of], value))
            for each in found.values()
        ]

    dcmtk = ratios("storescp", "images_per_second")
    orthanc = ratios("Orthanc", "images_per_second")
    price = ratios("Orthanc", "cpu_seconds_per_1000")
    told = results.span
    return [
        results.Goal("images/s, at least", "0.6x storescp", told(dcmtk), min(dcmtk) >= 0.6),
        results.Goal("images/s, at least", "3x Orthanc", told(orthanc), min(orthanc) >= 3),
        results.Goal("CPU seconds, at most", "0.5x Orthanc", told(price), max(price) <= 0.5),
    ]


def main() -> None:
    parser = results.parser(__doc__)
    parser.add_argument("--images", type=int, help="a round, default 400, with --short 120")
    given = parser.parse_args()
    if missing := missing_peers():
        raise SystemExit(missing)
    given.images = given.images or (120 if given.short else 400)
    found: dict[Case, dict[str, Found]] = {}
    loads = [results.load_average()]
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=given.folder) as name,
        spawn.Pool(MOST_ASSOCIATIONS) as pool,
    ):
        for modality, size in SIZES.items():
            made = Path(name) / modality
            paths = make_series(made, modality=modality, rows=size, columns=size, slices=DISTINCT)
            for sender in ("replay", "storescu"):
                for associations in (1, MOST_ASSOCIATIONS):
                    case = Case(modality, sender, associations)
                    print(*case.cells, file=sys.stderr, flush=True)
                    with tempfile.TemporaryDirectory(dir=name) as folder:
                        found[case] = run_case(case, paths, pool, Path(folder), given)
    loads.append(results.load_average())
    results.tell(report(found, loads, given.images), given.json)


if __name__ == "__main__":
    main()
