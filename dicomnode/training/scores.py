"""What was found in each case, and the log that lets an interrupted evaluation go on."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dicomnode.csv_cells import inert

LOG_NAME = "scores.jsonl"
TABLE_NAME = "scores.csv"

# A reference map tells these apart; the anonymised area is scored twice, since nobody can tell how
# far it reaches in the air in front of the head.
REGIONS = ("foreground", "face", "anonymised_area", "anonymised_area_head")


@dataclass(frozen=True)
class RegionScore:
    """One region of one case against its reference; see `dicomnode.training.metrics`."""

    dice: float
    hd95_mm: float
    surface_dice: float
    reference_ml: float
    answer_ml: float


@dataclass(frozen=True)
class Score:
    """One judged case. `regions` is empty where there is no reference.

    `anonymised_ml` counts every voxel, `anonymised_piece_ml` the largest piece, as the verdict
    does. `examiner` and `inputs` are digests of what judged and of what was judged.
    """

    case: str
    person: str
    modality: str
    state: str
    method: str
    verdict: str
    foreground_ml: float
    face_ml: float
    exposed_face_ml: float
    anonymised_ml: float
    anonymised_piece_ml: float
    seconds: float
    examiner: str
    inputs: str
    regions: Mapping[str, RegionScore] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Cases that were made alike."""
        return self.state if self.method == "none" else f"{self.state}: {self.method}"

    def value(self, region: str, name: str) -> float:
        """`nan` where there is no reference, or an empty one: see `scored`."""
        return float(getattr(self.regions[region], name)) if self.scored(region) else math.nan

    def scored(self, region: str) -> bool:
        """Whether the case counts for the agreement of a region: its reference holds something.

        An empty reference makes Dice a matter of single voxels; such cases are told in
        millilitres instead.
        """
        return region in self.regions and self.regions[region].reference_ml > 0


def as_line(score: Score) -> str:
    return json.dumps(asdict(score), ensure_ascii=True) + "\n"


def from_line(line: str) -> Score:
    """Raises `ValueError`, `TypeError` or `KeyError` for a torn line or one of another version."""
    entry: dict[str, Any] = json.loads(line)
    regions = {name: RegionScore(**value) for name, value in entry.pop("regions").items()}
    return Score(**entry, regions=regions)


def read_log(path: Path) -> dict[tuple[str, str, str], Score]:
    """Scores by (case, examiner, inputs). The torn last line of an interrupted run is no score."""
    if not path.is_file():
        return {}
    scores = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            score = from_line(line)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        scores[score.case, score.examiner, score.inputs] = score
    return scores


def append(path: Path, score: Score) -> None:
    """A line of its own, whatever an interrupted run left behind."""
    with path.open("a+b") as file:
        end = file.seek(0, 2)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(as_line(score).encode("ascii"))


def write_table(path: Path, scores: Sequence[Score]) -> None:
    """One row a case; columns of a region without reference are empty."""
    rows = [_row(score) for score in scores]
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({key: inert(cell) for key, cell in row.items()} for row in rows)


def _row(score: Score) -> dict[str, Any]:
    row = asdict(score)
    del row["regions"]
    names = list(RegionScore.__dataclass_fields__)
    for region in REGIONS:
        found = score.regions.get(region)
        for name in names:
            row[f"{region}_{name}"] = "" if found is None else round(getattr(found, name), 4)
    return row
