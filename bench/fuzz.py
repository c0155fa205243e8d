"""Fuzz what reads peers' objects, for as long as you like; a crash is kept and said.

    python bench/fuzz.py --seconds 600 --target series --crashes crashes

Led by coverage where atheris is installed (`pip install 'dicomnode[fuzz]'`), else by random
changes with a seed. Targets and corpus: tests/fuzz. What made a target crash goes into
tests/fuzz/corpus/TARGET/crash-NAME when it is mended, and is tried by each run of the tests.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

HAS_ATHERIS = find_spec("atheris") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", choices=("data_set", "file", "series"), default="series")
    parser.add_argument("--crashes", type=Path, default=Path("crashes"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="without atheris")
    given = parser.parse_args()
    given.crashes.mkdir(parents=True, exist_ok=True)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if HAS_ATHERIS and not given.random:
        _by_coverage(given)
    else:
        sys.exit(_by_chance(given))


def _by_coverage(given: argparse.Namespace) -> None:
    """libFuzzer ends the process: 0 after the time, else with a crash in its file."""
    import atheris

    with atheris.instrument_imports(include=["dicomnode.dicom", "pydicom"]):
        from tests.fuzz.targets import CORPUS, MOST_BYTES, TARGETS
    grown = given.crashes / f"corpus-{given.target}"
    grown.mkdir(exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={given.seconds}",
        f"-artifact_prefix={given.crashes}/",
        f"-max_len={MOST_BYTES}",
        f"-seed={given.seed}",
        "-timeout=60",
        "-rss_limit_mb=4096",
        str(grown),
        str(CORPUS / given.target),
    ]
    atheris.Setup(arguments, TARGETS[given.target])
    atheris.Fuzz()


def _by_chance(given: argparse.Namespace) -> int:
    """The number of kinds of crashes: each kind, told by its last line of code, is kept once."""
    from tests.fuzz.mutation import mutated
    from tests.fuzz.targets import CORPUS, TARGETS

    corpus = [path.read_bytes() for path in sorted((CORPUS / given.target).iterdir())]
    rng, found, runs = random.Random(given.seed), Counter[str](), 0
    slowest, end = 0.0, time.monotonic() + given.seconds
    while time.monotonic() < end:
        data, begin = mutated(rng, corpus), time.monotonic()
        where = _crash(TARGETS[given.target], data)
        slowest, runs = max(slowest, time.monotonic() - begin), runs + 1
        if where and not found[where]:
            name = f"crash-{sha256(data).hexdigest()[:16]}"
            (given.crashes / name).write_bytes(data)
            print(f"{name}: {where}", flush=True)
        found[where] += bool(where)
    crashes = sum(found.values())
    print(f"{given.target}: {runs} inputs, {crashes} crashes, the slowest input {slowest:.2f} s")
    return min(100, sum(count > 0 for count in found.values()))


def _crash(target: Callable[[bytes], None], data: bytes) -> str:
    try:
        target(data)
    except Exception as error:  # noqa: BLE001  any is a finding
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
    return ""


if __name__ == "__main__":
    main()
