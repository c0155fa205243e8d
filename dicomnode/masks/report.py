"""What became of every file of a data set: `report.csv` and `report.json`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from dicomnode.csv_cells import inert
from dicomnode.masks.files import atomically
from dicomnode.masks.make import NO_ANATOMY, Outcome

CSV_NAME, JSON_NAME = "report.csv", "report.json"
STATUSES = {
    "made": "masks made",
    "kept": "masks of before kept",
    "skipped": "skipped",
    "failed": "failed",
}
COLUMNS = (
    "source",
    "key",
    "status",
    "reasons",
    "volumes",
    "anatomy_ml",
    "anonymised_ml",
    "networks",
    "warnings",
    "seconds",
    "device",
)


class Line(NamedTuple):
    """One row for each input: a file by its path, a DICOM series by its UID."""

    source: str
    outcome: Outcome


def counts(lines: Sequence[Line]) -> dict[str, int]:
    given = Counter(line.outcome.status for line in lines)
    return {status: given[status] for status in STATUSES}


def reason_counts(lines: Sequence[Line]) -> dict[str, int]:
    """How often each reason was given, most frequent first; a refusal counts by its code."""
    reasons = [reason.split(":")[0] for line in lines for reason in line.outcome.reasons]
    return dict(Counter(reasons).most_common())


def write_report(out: Path, lines: Sequence[Line], about: Mapping[str, Any]) -> None:
    """`about`: what is the same for the whole run."""
    atomically(out / CSV_NAME, lambda part: _write_csv(part, lines))
    document = {
        **about,
        "counts": counts(lines),
        "reasons": reason_counts(lines),
        "inputs": [{"source": line.source, **asdict(line.outcome)} for line in lines],
    }
    text = json.dumps(document, indent=1)
    atomically(out / JSON_NAME, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def _write_csv(path: Path, lines: Sequence[Line]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([inert(cell) for cell in _row(line)] for line in lines)


def _row(line: Line) -> list[Any]:
    outcome = line.outcome
    warnings = [warning for volume in outcome.volumes for warning in volume.warnings]
    networks = [f"{one.name} {one.version}" for each in outcome.volumes for one in each.networks]
    return [
        line.source,
        outcome.key,
        outcome.status,
        "; ".join(outcome.reasons),
        len(outcome.volumes),
        round(sum(volume.anatomy_ml for volume in outcome.volumes), 2),
        round(sum(volume.anonymised_ml for volume in outcome.volumes), 2),
        "; ".join(dict.fromkeys(networks)),
        "; ".join(warnings),
        outcome.seconds,
        outcome.device,
    ]


def report_text(lines: Sequence[Line]) -> Iterator[str]:
    """A few lines for whoever ran it."""
    yield ", ".join(f"{number} {STATUSES[status]}" for status, number in counts(lines).items())
    for reason, number in reason_counts(lines).items():
        yield f"  {number} x {reason}"
    volumes = [volume for line in lines for volume in line.outcome.volumes]
    if without := sum(not volume.has_anatomy for volume in volumes):
        yield f"  {without} x {NO_ANATOMY}"
