"""What the benches that compare have in common: options, tables, goals, JSON, the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("pydicom", "pynetdicom", "highdicom", "numpy", "simpleitk")


@dataclass(frozen=True)
class Goal:
    """One target of the project, and what was measured."""

    what: str
    wanted: str
    measured: str
    met: bool

    def sentence(self) -> str:
        return f"{'Met' if self.met else '**Missed**'}: {self.what} {self.wanted}: {self.measured}."


@dataclass(frozen=True)
class Report:
    """What one bench found. `figures`: every single value, for programs."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    goals: Sequence[Goal] = ()
    figures: Any = None
    load_averages: Sequence[float] = ()
    command: str = field(default_factory=lambda: " ".join(["python", *sys.argv]))
    taken_at: str = field(default_factory=lambda: f"{datetime.now(UTC):%d %B %Y, %H:%M UTC}")

    def markdown(self) -> str:
        lines = [f"### {self.title}", ""]
        lines += [_row(self.columns), _row(["---"] * len(self.columns))]
        lines += [_row(row) for row in self.rows]
        loads = " to ".join(f"{load:.1f}" for load in self.load_averages)
        remarks = [*self.remarks, f"{self.taken_at}; load average {loads} (begin to end)."]
        lines += ["", " ".join(remarks), ""]
        lines += [f"- {goal.sentence()}" for goal in self.goals]
        return "\n".join(lines).rstrip() + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the options of every bench that compares."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--short", action="store_true", help="a small set, as `make bench` runs it")
    made.add_argument("--rounds", type=int, default=5, help="interleaved; medians are told")
    made.add_argument("--json", type=Path, help="write what was found to this file too")
    made.add_argument("--folder", type=Path, help="where temporary files lie")
    return made


def tell(report: Report, file: Path | None) -> None:
    print(report.markdown(), flush=True)
    if file is not None:
        file.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> Report:
    found = json.loads(file.read_text(encoding="utf-8"))
    return Report(**found | {"goals": [Goal(**goal) for goal in found["goals"]]})


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios within each round, in which the machine was much the same."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def span(values: Sequence[float], unit: str = "x") -> str:
    """Lowest to highest."""
    low, high = min(values), max(values)
    return f"{low:.2f}{unit} to {high:.2f}{unit}" if len(values) > 1 else f"{low:.2f}{unit}"


def load_average() -> float:
    return round(os.getloadavg()[0], 1)


def file_system(folder: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> str:
    """One sentence: processor, memory, kernel, versions of what is compared."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    versions += filter(None, (_version(*peer) for peer in _PEERS))
    return (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {gib:.0f} GiB, "
        f"Linux {platform.release()}; {', '.join(versions)}."
    )


# Program, how it tells its version, and which word of the first line that has one it is.
_PEERS = (
    ("dcmtk", "/usr/bin/storescp", 2),
    ("Orthanc", "Orthanc", 1),
    ("dcmqi", "itkimage2segimage", -1),
)


def _version(name: str, program: str, word: int) -> str:
    found = shutil.which(program)
    if found is None:
        return ""
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    lines = [line.split() for line in told.splitlines() if name.casefold() in line.casefold()]
    return f"{name} {lines[0][word]}" if lines else name


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
