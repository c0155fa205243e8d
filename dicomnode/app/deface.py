"""`dicomnode deface`: DICOM series and NIfTI files in, defaced copies out, each with its proof.

A copy whose proof is given lies in `defaced`, any other in `held`, which nobody should hand over.
One line of JSON a volume says which, and why. A series that can't be defaced stops no other.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dicomnode.app.batch import Found, Line, failure_sentence
from dicomnode.config import Settings
from dicomnode.defacing.deface import DefacedSeries, DefacedVolume, deface_nifti, deface_series
from dicomnode.dicom.derived import Headers
from dicomnode.domain import Revision, as_json
from dicomnode.inference.assessment import Segmenter, ignore
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


@dataclass(frozen=True)
class Defacer:
    """What is the same for every series and file. `headers` are those of DICOM objects;
    `without_words`: free text of NIfTI headers, and names of files, go too."""

    networks: Sequence[Segmenter]
    settings: Settings
    out: Path
    headers: Headers
    without_words: bool = False
    nifti_modality: str = ""
    progress: Callable[[str], None] = ignore

    def series(self, revision: Revision, work: Path) -> DefacedSeries:
        return deface_series(
            revision.paths, self.networks, self.settings, work, self.headers, self.progress
        )

    def nifti(self, path: Path, work: Path) -> DefacedSeries:
        ending = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
        volume = deface_nifti(
            path,
            self.networks,
            self.settings,
            work / (f"volume{ending}" if self.without_words else path.name),
            modality=self.nifti_modality,
            without_words=self.without_words,
            progress=self.progress,
        )
        return DefacedSeries((volume,), ())


def deface_all(
    found: Found, defacer: Defacer, report: Callable[[list[Line]], None]
) -> DefacingTally:
    """Deface everything in `found`; `report` gets the lines of one series or file at a time."""
    tally = DefacingTally()
    for path, reason in found.unreadable:
        tally.failed += 1
        report([{"path": str(path), "error": reason}])
    for revision in found.revisions:
        subject: Line = {
            "study_instance_uid": revision.study_instance_uid,
            "series_instance_uid": revision.series_instance_uid,
            "modality": revision.modality,
        }
        name = short_name(revision.series_instance_uid)
        report(_told(subject, name, partial(defacer.series, revision), defacer.out, tally))
    for path in found.nifti:
        name = short_name(str(path.resolve()))
        run = partial(defacer.nifti, path)
        report(_told({"path": str(path)}, name, run, defacer.out, tally))
    return tally


def _told(
    subject: Line, name: str, run: Callable[[Path], DefacedSeries], out: Path, tally: DefacingTally
) -> list[Line]:
    began = time.monotonic()
    try:
        lines = list(_one(name, run, out, tally))
        seconds = round(time.monotonic() - began, 1)
        return [subject | line | {"series_seconds": seconds} for line in lines]
    except Exception as error:  # noqa: BLE001 - the edge for one series: recorded, and on
        tally.failed += 1
        return [subject | {"error": failure_sentence(error)}]


def _one(
    name: str, run: Callable[[Path], DefacedSeries], out: Path, tally: DefacingTally
) -> Iterator[Line]:
    """Nothing of a series stands under its last name before the proof of all of it."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".defacing-") as work:
        folder = Path(work) / "series"
        series = run(folder)
        for volume in series.volumes:
            _write_pictures(volume)
        proven = bool(series.volumes) and all(v.found.proof.is_given for v in series.volumes)
        target = out / (DEFACED if proven else HELD) / name
        _replace(folder, target, out)
    for volume in series.volumes:
        tally.defaced += proven
        tally.held += not proven
        yield _line(volume, proven, target)
    yield from _left_out(series, tally)


def _line(volume: DefacedVolume, proven: bool, folder: Path) -> Line:
    found = volume.found
    proof = as_json(found.proof)
    evidence = proof.pop("evidence")
    return {
        "volume": volume.label,
        "state": DEFACED if proven else HELD,
        "folder": str(folder),
        "images": found.removal.removed.shape[0],
        "defaced_series_instance_uid": volume.series_instance_uid,
        "exposed_face_before_ml": found.before.evidence.exposed_face_ml,
        "exposed_face_after_ml": evidence["exposed_face_ml"],
        "face_probability_after": evidence["face_probability"],
        "proof": proof,
        "figures": as_json(found.figures),
    }


def _left_out(series: DefacedSeries, tally: DefacingTally) -> Iterator[Line]:
    """Images that no volume could be made of have no copy, so they can't be handed over."""
    for set_aside in series.set_aside:
        tally.failed += not series.volumes
        yield {"state": "left out", **as_json(set_aside)}


def _write_pictures(volume: DefacedVolume) -> None:
    folder, found = volume.paths[0].parent, volume.found
    for suffix, seen in (("-before", found.before), ("-after", found.after)):
        write_pictures(folder, suffix, seen.marked, seen.verdict, seen.skin, only_overview=True)


def _replace(made: Path, target: Path, out: Path) -> None:
    """An earlier result of the series goes, whichever way it went."""
    for state in (DEFACED, HELD):
        shutil.rmtree(out / state / target.name, ignore_errors=True)
    if made.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
