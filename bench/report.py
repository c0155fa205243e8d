"""Run the benches that compare, and put what they found into docs/performance.md.

    PYTHONPATH=. python bench/report.py [--short] [--only receive ...] [--folder FOLDER]

`make bench` is this with `--short`. Only what stands between the two marker comments is replaced;
with `--only` the other benches keep what they found last (their JSON lies in `build/bench`).
Nothing is written where one of them fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import results

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"
FOUND = ROOT / "build" / "bench"
BENCHES = (
    "receive",
    "volume",
    "segmentation",
    "examine",
    "start",
    "turnaround",
    "engine",
    "growth",
)
HEADING = "## Against other programs"
BEGIN = "<!-- Written by `make bench`: what stands between these two comments is replaced. -->"
END = "<!-- End of what `make bench` wrote. -->"


def section(reports: Sequence[results.Report], machine: str, file_system: str, how: str) -> str:
    """Without its markers."""
    introduction = (
        f"`{how}` measured this (one alone: `PYTHONPATH=. python bench/NAME.py`, NAME being "
        f"{', '.join(BENCHES)}): peers in the same run on the same data, in interleaved rounds; "
        "medians, and ratios within a round. A load average above the number of cores says that "
        f"others were at work. Files on {file_system}. The machine: {machine}"
    )
    return "\n".join([HEADING, "", introduction, "", *(each.markdown() for each in reports)])


def with_section(document: str, new: str) -> str:
    """The document with its section replaced; one without a section gets it at its end."""
    marked = f"{BEGIN}\n{new.strip()}\n{END}\n"
    before, begin, rest = document.partition(f"{BEGIN}\n")
    if not begin:
        return f"{document.rstrip()}\n\n{marked}"
    _, end, after = rest.partition(f"{END}\n")
    if not end:
        raise SystemExit(f"{DOCUMENT}: the comment {END!r} is missing; put it back first")
    return before + marked + after


def run(bench: str, options: Sequence[str]) -> None:
    command = [sys.executable, str(ROOT / "bench" / f"{bench}.py"), *options]
    command += ["--json", str(FOUND / f"{bench}.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise SystemExit(f"bench/{bench}.py failed; {DOCUMENT} stays as it was")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="small sizes")
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=BENCHES)
    parser.add_argument("--folder", type=Path, default=tempfile.gettempdir(), help="for files")
    given = parser.parse_args()
    options = ["--folder", str(given.folder), *(["--short"] if given.short else [])]
    FOUND.mkdir(parents=True, exist_ok=True)
    for bench in given.only:
        run(bench, options)
    reports = [results.read(file) for name in BENCHES if (file := FOUND / f"{name}.json").exists()]
    how = "make bench" if given.short else "python bench/report.py"
    document = DOCUMENT.read_text(encoding="utf-8")
    new = section(reports, results.machine(), results.file_system(given.folder), how)
    DOCUMENT.write_text(with_section(document, new), encoding="utf-8")
    print(f"{DOCUMENT} has a new section {HEADING[3:]!r}")


if __name__ == "__main__":
    main()
