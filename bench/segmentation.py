"""Writing a DICOM SEG of two segments: `write_segmentation` against dcmqi's itkimage2segimage.

    PYTHONPATH=. python bench/segmentation.py [--short] [--slices 600] [--json FILE]

CT, 512x512, a drawn body in every slice and a face in half of them. Each writing is a process of
its own, and they take turns. `with headers`: the source series is read and sorted first, which
dcmqi has to do each time, and the node has done when it comes to write. dcmqi also reads
the masks, as NRRD files without compression. Memory is the peak over the masks (and in the node
the headers) that were there before; of dcmqi, that of its process minus the two masks.
dcmqi: `pip install dcmqi` in an environment of its own, and its `bin` on the PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import results
from bench.processes import forget_peak, peak_bytes, resident_bytes
from bench.volume import drawn, one_stack, simpleitk
from dicomnode.config import SegmentationSettings
from dicomnode.dicom.series import SourceStack
from dicomnode.dicom.uids import result_uid
from dicomnode.domain import ModelIdentity, SegmentKind

DCMQI = "itkimage2segimage"
MEGABYTE = 1e6
COLUMNS = (
    "",
    "seconds",
    "with headers",
    "read back and compared",
    "peak MB over the arrays",
    "file MB",
    "frames",
)
Mask = NDArray[np.uint8]
_KINDS = (SegmentKind.FOREGROUND, SegmentKind.FACE)


@dataclass(frozen=True)
class Written:
    """`seconds` without the headers (of dcmqi: of all that it does); `verify_seconds`: reading
    back and comparing, as the node does before it sends."""

    seconds: float
    with_headers_seconds: float
    peak_over_arrays_bytes: int
    file_bytes: int
    frames: int
    verify_seconds: float = 0.0


def masks(slices: int) -> dict[ModelIdentity, Mask]:
    """(slice, row, column): ellipses that change from slice to slice."""
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    radius = np.hypot(y / 0.9, x / 0.7)
    body, face = (np.zeros((slices, 512, 512), np.uint8) for _ in _KINDS)
    for number in range(slices):
        size = 0.5 + 0.4 * np.sin(np.pi * number / slices)
        body[number] = radius < size
        if number % slices >= slices // 2:
            face[number] = (radius < size) & (radius > size - 0.1) & (y < -0.2)
    made = zip(_KINDS, (body, face), strict=True)
    return {ModelIdentity(kind, f"drawn_{kind}", "1", f"{0:064}"): mask for kind, mask in made}


def write_here(folder: Path, out: Path) -> Written:
    """By the node, in this process."""
    from dicomnode.dicom.segmentation import verify_segmentation, write_segmentation

    paths = sorted((folder / "ct").iterdir())
    began = time.perf_counter()
    stack = one_stack(paths)
    headers = time.perf_counter() - began
    drawn_masks = masks(len(paths))
    forget_peak()
    before, began = resident_bytes(os.getpid()), time.perf_counter()
    file = write_segmentation(
        drawn_masks,
        stack,
        series_instance_uid=result_uid("bench", "series"),
        sop_instance_uid=result_uid("bench", "instance"),
        settings=SegmentationSettings(),
        out=out,
    )
    seconds, peak = time.perf_counter() - began, peak_bytes(os.getpid()) - before
    began = time.perf_counter()
    verify_segmentation(file, drawn_masks, stack)
    verified = time.perf_counter() - began
    return Written(seconds, headers + seconds, peak, *_size_and_frames(out), verified)


def node(folder: Path) -> Written:
    command = [sys.executable, __file__, "--write", str(folder)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Written(**json.loads(said.splitlines()[-1]))


def dcmqi(folder: Path) -> Written:
    out, images = folder / "dcmqi.dcm", [str(folder / f"{kind.value}.nrrd") for kind in _KINDS]
    command = [DCMQI, "--inputImageList", ",".join(images), "--outputDICOM", str(out)]
    command += ["--inputDICOMDirectory", str(folder / "ct"), "--skip", "1"]
    command += ["--inputMetadata", str(folder / "dcmqi.json")]
    began = time.perf_counter()
    with (folder / "dcmqi.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"dcmqi failed: {(folder / 'dcmqi.log').read_text()[-1000:]}")
    arrays = sum((folder / f"{kind.value}.nrrd").stat().st_size for kind in _KINDS)
    return Written(seconds, seconds, usage.ru_maxrss * 1024 - arrays, *_size_and_frames(out))


def prepare_dcmqi(folder: Path, stack: SourceStack) -> None:
    """The masks as NRRD on the grid of the series, and what the segments mean."""
    sitk, geometry = simpleitk(), stack.geometry
    axes = (geometry.row_cosines, geometry.column_cosines, geometry.normal)
    for model, mask in masks(geometry.shape[0]).items():
        image = sitk.GetImageFromArray(mask)
        image.SetOrigin(geometry.positions_mm[0].tolist())
        image.SetDirection(np.stack(axes, axis=1).ravel().tolist())
        down, across = geometry.pixel_spacing_mm
        image.SetSpacing((across, down, geometry.slice_spacing_mm))
        sitk.WriteImage(image, str(folder / f"{model.kind.value}.nrrd"), useCompression=False)
    meaning = {
        "ContentCreatorName": "Bench",
        "ContentLabel": "MASKS",
        "ContentDescription": "bench",
        "SeriesDescription": "bench",
        "SeriesNumber": "9001",
        "InstanceNumber": "1",
        "ClinicalTrialSeriesID": "1",
        "ClinicalTrialTimePointID": "1",
        "BodyPartExamined": "HEAD",
        "segmentAttributes": [
            [_meaning("Body", "123037004", "Anatomical Structure")],
            [_meaning("Face", "123037004", "Anatomical Structure")],
        ],
    }
    (folder / "dcmqi.json").write_text(json.dumps(meaning), encoding="utf-8")


def _meaning(label: str, code: str, words: str) -> dict[str, Any]:
    category = {"CodeValue": code, "CodingSchemeDesignator": "SCT", "CodeMeaning": words}
    kind = {"CodeValue": "69536005", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Head"}
    return {
        "labelID": 1,
        "SegmentDescription": label,
        "SegmentLabel": label,
        "SegmentAlgorithmType": "AUTOMATIC",
        "SegmentAlgorithmName": "drawn",
        "SegmentedPropertyCategoryCodeSequence": category,
        "SegmentedPropertyTypeCodeSequence": kind,
        "recommendedDisplayRGBValue": [200, 100, 50],
    }


def _size_and_frames(file: Path) -> tuple[int, int]:
    from pydicom import dcmread

    header = dcmread(file, specific_tags=["NumberOfFrames"], stop_before_pixels=True)
    return file.stat().st_size, int(header.NumberOfFrames)


def run(given: argparse.Namespace, slices: int) -> dict[str, list[Written]]:
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        stack = one_stack(drawn(folder / "ct", slices))
        ways = {"dicomnode": node}
        if shutil.which(DCMQI):
            prepare_dcmqi(folder, stack)
            ways["dcmqi"] = dcmqi
        found: dict[str, list[Written]] = {name: [] for name in ways}
        for number in range(given.rounds):
            for way in sorted(ways, reverse=bool(number % 2)):
                found[way].append(ways[way](folder))
    return found


def report(found: dict[str, list[Written]], loads: Sequence[float], slices: int) -> results.Report:
    ours, remarks, rows = found["dicomnode"], [], []
    for name, written in found.items():
        verified = statistics.median(one.verify_seconds for one in written)
        rows.append(
            [
                name,
                f"{statistics.median(one.seconds for one in written):.2f}",
                f"{statistics.median(one.with_headers_seconds for one in written):.2f}",
                f"{verified:.2f}" if verified else "",
                f"{max(one.peak_over_arrays_bytes for one in written) / MEGABYTE:.0f}",
                f"{written[0].file_bytes / MEGABYTE:.1f}",
                str(written[0].frames),
            ]
        )
    peak = max(one.peak_over_arrays_bytes for one in ours) / MEGABYTE
    goals = [results.Goal("peak over the arrays, under", "500 MB", f"{peak:.0f} MB", peak < 500)]
    if theirs := found.get("dcmqi"):
        both = [one.with_headers_seconds for one in ours]
        spent = results.ratio(both, [one.seconds for one in theirs])
        goals.insert(
            0,
            results.Goal("with headers, at most", "0.6x dcmqi", f"{spent:.2f}x", spent <= 0.6),
        )
    else:
        remarks.append(f"dcmqi was not there ({DCMQI} is not on the PATH), so nothing is compared.")
    return results.Report(
        title=f"SEG writing: {slices} x 512 x 512, two segments",
        columns=COLUMNS,
        rows=rows,
        remarks=remarks,
        goals=goals,
        figures={name: [asdict(one) for one in written] for name, written in found.items()},
        load_averages=loads,
    )


def main() -> None:
    parser = results.parser(__doc__)
    parser.add_argument("--slices", type=int, help="default 600, with --short 150")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        print(json.dumps(asdict(write_here(given.write, given.write / "node.dcm"))))
        return
    slices = given.slices or (150 if given.short else 600)
    loads = [results.load_average()]
    found = run(given, slices)
    results.tell(report(found, [*loads, results.load_average()], slices), given.json)


if __name__ == "__main__":
    main()
