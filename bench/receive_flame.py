"""Where the time of receiving goes: a flame graph of `dicomnode scp` under load.

    pip install py-spy
    PYTHONPATH=. python bench/receive_flame.py docs/receive-flame.svg [--images 2000]

py-spy looks at the stacks of the threads that are not idle, 250 times a second, while CT 512x512
are sent by `raw_association.py`; native code (hashing, system calls) counts for its Python caller.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from bench import receivers
from bench.receive import DISTINCT, replayed
from dicomnode.dicom.file_format import split_file
from tests.factories import make_series

SAMPLES_PER_SECOND = 250


def record(given: argparse.Namespace, folder: Path, py_spy: str) -> None:
    paths = make_series(folder / "made", modality="CT", rows=512, columns=512, slices=DISTINCT)
    sop_class = split_file(paths[0].read_bytes())[0].sop_class_uid
    counts = [given.images // given.associations] * given.associations
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(given.associations) as pool, receivers.node(folder / "node") as node:
        replayed(pool, paths, sop_class, node.port, [DISTINCT] * given.associations)
        command = [py_spy, "record", "--pid", str(node.process.pid), "--output", str(given.svg)]
        command += ["--format", given.format, "--rate", str(SAMPLES_PER_SECOND), "--threads"]
        watching = subprocess.Popen(command)
        time.sleep(2)
        replayed(pool, paths, sop_class, node.port, counts)
        time.sleep(2)  # rows follow
        watching.send_signal(signal.SIGINT)
        watching.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("svg", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--associations", type=int, default=1)
    parser.add_argument("--format", default="flamegraph", choices=["flamegraph", "raw"])
    parser.add_argument("--folder", type=Path, help="where temporary files lie")
    given = parser.parse_args()
    py_spy = shutil.which("py-spy")
    if py_spy is None:
        raise SystemExit("py-spy is missing: pip install py-spy")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        record(given, Path(name), py_spy)


if __name__ == "__main__":
    main()
