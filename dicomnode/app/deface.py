"""`dicomnode deface`: folders of DICOM series in, their defaced copies out, each with its proof.

A copy whose proof is given lies in `defaced`, any other in `held`, which nobody should hand over.
One line of JSON a volume says which, and why. A series that can't be defaced stops no other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from dicomnode.app.batch import Found, Line, failure_sentence
from dicomnode.config import Settings
from dicomnode.defacing.deface import DefacedSeries, DefacedVolume, deface_series
from dicomnode.domain import Revision, as_json
from dicomnode.inference.assessment import Segmenter
from dicomnode.inference.pictures import write_pictures
from dicomnode.tracking.spool import short_name

DEFACED, HELD = "defaced", "held"


@dataclass
class DefacingTally:
    """How many volumes were proven, how many are held, and how many series failed."""

    defaced: int = 0
    held: int = 0
    failed: int = 0

    @property
    def complete(self) -> bool:
        return self.defaced > 0 and not self.held and not self.failed


def deface_all(
    found: Found,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: Path,
    finish: Callable[[Dataset], None],
    report: Callable[[list[Line]], None],
    progress: Callable[[str], None],
) -> DefacingTally:
    """Deface every series in `found`; `report` gets the lines of one at a time.

    `finish` has the last word on each header.
    """
    tally = DefacingTally()
    for path, reason in (*found.unreadable, *((path, _NIFTI) for path in found.nifti)):
        tally.failed += 1
        report([{"path": str(path), "error": reason}])
    for revision in found.revisions:
        subject: Line = {
            "study_instance_uid": revision.study_instance_uid,
            "series_instance_uid": revision.series_instance_uid,
            "modality": revision.modality,
        }
        try:
            lines = list(_one(revision, networks, settings, out, finish, progress, tally))
        except Exception as error:  # noqa: BLE001 - the edge for one series: recorded, and on
            tally.failed += 1
            lines = [{"error": failure_sentence(error)}]
        report([subject | line for line in lines])
    return tally


_NIFTI = "NIfTI files are not defaced yet: only DICOM series"


def _one(
    revision: Revision,
    networks: Sequence[Segmenter],
    settings: Settings,
    out: Path,
    finish: Callable[[Dataset], None],
    progress: Callable[[str], None],
    tally: DefacingTally,
) -> Iterator[Line]:
    """Nothing of a series stands under its last name before the proof of all of it."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".defacing-") as work:
        folder = Path(work) / "series"
        series = deface_series(revision.paths, networks, settings, folder, finish, progress)
        for volume in series.volumes:
            _write_pictures(volume)
        proven = bool(series.volumes) and all(each.proof.is_given for each in series.volumes)
        target = out / (DEFACED if proven else HELD) / short_name(revision.series_instance_uid)
        _replace(folder, target, out)
    for volume in series.volumes:
        tally.defaced += proven
        tally.held += not proven
        yield _line(volume, proven, target)
    yield from _left_out(series, tally)


def _line(volume: DefacedVolume, proven: bool, folder: Path) -> Line:
    proof = as_json(volume.proof)
    evidence = proof.pop("evidence")
    return {
        "volume": volume.label,
        "state": DEFACED if proven else HELD,
        "folder": str(folder),
        "images": len(volume.paths),
        "defaced_series_instance_uid": volume.series_instance_uid,
        "exposed_face_before_ml": volume.before.evidence.exposed_face_ml,
        "exposed_face_after_ml": evidence["exposed_face_ml"],
        "face_probability_after": evidence["face_probability"],
        "proof": proof,
    }


def _left_out(series: DefacedSeries, tally: DefacingTally) -> Iterator[Line]:
    """Images that no volume could be made of have no copy, so they can't be handed over."""
    for set_aside in series.set_aside:
        tally.failed += not series.volumes
        yield {"state": "left out", **as_json(set_aside)}


def _write_pictures(volume: DefacedVolume) -> None:
    folder = volume.paths[0].parent
    for suffix, seen in (("-before", volume.before), ("-after", volume.after)):
        write_pictures(folder, suffix, seen.marked, seen.verdict, seen.skin, only_overview=True)


def _replace(made: Path, target: Path, out: Path) -> None:
    """An earlier result of the series goes, whichever way it went."""
    for state in (DEFACED, HELD):
        shutil.rmtree(out / state / target.name, ignore_errors=True)
    if made.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
