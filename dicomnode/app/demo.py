"""`dicomnode demo`: the node and a loopback PACS as real processes, and a study through both.

The PACS is this project's own receiving role with a folder of its own; everything goes over
DICOM associations on 127.0.0.1, as at a site.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dicomnode.app.batch import find
from dicomnode.app.drawn_series import STUDIES, write_series
from dicomnode.app.loopback import (
    Process,
    pacs_and_node,
    running,
    send_as_a_pacs_does,
    wait_for_echo,
)
from dicomnode.domain import OPEN_DELIVERIES, GateDecision, View
from dicomnode.errors import DicomnodeError
from dicomnode.gate.decision import decide
from dicomnode.gate.policy import policy_of
from dicomnode.inference.examine import seg_series_uid
from dicomnode.inference.examiner import installed_examiner
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesFinding, SeriesState, verdicts_of_studies
from dicomnode.tracking.status import SeriesStatus, StudyStatus, studies_status

LONGEST_WAIT_SECONDS = 1800.0
MARKER_NAME = ".dicomnode-demo"


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows: verdicts, gate decisions, and what lies where."""

    studies: tuple[StudyStatus, ...]
    decisions: tuple[GateDecision, ...]
    descriptions: dict[str, str]
    segs_in_pacs: dict[str, int]
    pictures: dict[str, tuple[Path, ...]]
    folder: Path
    logs: tuple[Path, ...]
    seconds: float

    @property
    def complete(self) -> bool:
        """Every series has an answer, and every SEG that was made is in the PACS."""
        series = [item for study in self.studies for item in study.series]
        return bool(series) and all(_is_settled(item) for item in series)


class Demo:
    """Runs once into a folder of its own; `send` names a folder of the user's own DICOM files.

    A folder is overwritten only where it holds the marker of an earlier demo. Raises
    `DicomnodeError` for any other that is not empty, and for one that overlaps the user's files.
    """

    def __init__(self, folder: Path, send_folder: Path | None) -> None:
        self._folder = folder.resolve()
        self._send_folder = send_folder
        if self._folder.exists() and not self._may_be_overwritten():
            raise DicomnodeError(f"{folder} is not an earlier demo's; name a new one with --out")
        if send_folder is not None and _overlap(self._folder, send_folder.resolve()):
            raise DicomnodeError(
                f"--out {folder} and --send {send_folder} overlap: keep them apart"
            )

    def run(self, progress: Callable[[str], None]) -> DemoResult:
        """Read or draw, start, send, wait, collect; raises `DicomnodeError` when a process dies."""
        began = time.monotonic()
        progress("drawing heads" if self._send_folder is None else "reading your files")
        batches = [] if self._send_folder is None else _series_of(self._send_folder)
        self._make_folder()
        batches = batches or self._drawn_series()
        pacs, node = pacs_and_node(self._folder)
        with running(pacs) as pacs_is_alive, running(node) as node_is_alive:
            progress("starting the PACS and the node")
            wait_for_echo(pacs, pacs_is_alive)
            wait_for_echo(node, node_is_alive)
            for number, batch in enumerate(batches, start=1):
                progress(f"the PACS sends series {number} of {len(batches)}")
                send_as_a_pacs_does(node, batch)
            studies = _wait_for_verdicts(node, len(batches), node_is_alive, progress)
        return self._collect(node, pacs, studies, time.monotonic() - began)

    def _may_be_overwritten(self) -> bool:
        if not self._folder.is_dir():
            return False
        return (self._folder / MARKER_NAME).is_file() or not any(self._folder.iterdir())

    def _make_folder(self) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True)
        text = "Made by `dicomnode demo`, which may delete this folder and make it anew.\n"
        (self._folder / MARKER_NAME).write_text(text, encoding="utf-8")

    def _drawn_series(self) -> list[list[Path]]:
        return [
            write_series(series, self._folder / "sent" / f"{series.study}-{series.modality}")
            for series in STUDIES
        ]

    def _collect(
        self, node: Process, pacs: Process, studies: tuple[StudyStatus, ...], seconds: float
    ) -> DemoResult:
        uids = [study.study_instance_uid for study in studies]
        with Database(node.settings.database_url).read() as connection:
            found = verdicts_of_studies(connection, uids)
        policy, wanted = policy_of(node.settings), installed_examiner(node.settings).wanted_digest
        decisions = tuple(decide(uid, found[uid], policy, wanted) for uid in uids)
        with Database(pacs.settings.database_url).read() as connection:
            in_pacs = {
                item.series_instance_uid: item.instance_count
                for study in studies_status(connection, limit=len(studies))
                for item in study.series
            }
        return DemoResult(
            studies=studies,
            decisions=decisions,
            descriptions=_descriptions() if self._send_folder is None else {},
            segs_in_pacs={
                item.series_instance_uid: sum(
                    in_pacs.get(seg_series_uid(item.series_instance_uid, volume.label), 0)
                    for volume in item.volumes
                )
                for study in studies
                for item in study.series
            },
            pictures=_pictures(item for uid in uids for item in found[uid]),
            folder=self._folder,
            logs=(node.log, pacs.log),
            seconds=seconds,
        )


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _series_of(folder: Path) -> list[list[Path]]:
    found = find([folder])
    if not found.revisions:
        raise DicomnodeError(f"{folder}: no DICOM series in it")
    return [list(revision.paths) for revision in found.revisions]


def _wait_for_verdicts(
    node: Process,
    expected: int,
    is_alive: Callable[[], None],
    progress: Callable[[str], None],
) -> tuple[StudyStatus, ...]:
    database = Database(node.settings.database_url)
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while time.monotonic() < deadline:
        is_alive()
        with database.read() as connection:
            studies = studies_status(connection, limit=expected)
        series = [item for study in studies for item in study.series]
        settled = sum(_is_settled(item) for item in series)
        progress(f"the node examines and delivers: {settled} of {expected} series done")
        if len(series) >= expected and settled == len(series):
            return tuple(reversed(studies))  # the study that was sent first comes first
        time.sleep(0.5)
    raise DicomnodeError(
        f"after {LONGEST_WAIT_SECONDS / 60:.0f} minutes some series wait; see {node.log}"
    )


def _is_settled(series: SeriesStatus) -> bool:
    if series.state == SeriesState.EXAMINED:
        return all(delivery.state not in OPEN_DELIVERIES for delivery in series.deliveries)
    return series.state in (SeriesState.REFUSED, SeriesState.FAILED)


def _descriptions() -> dict[str, str]:
    return {series.series_instance_uid: series.description for series in STUDIES}


def _pictures(series: Iterable[SeriesFinding]) -> dict[str, tuple[Path, ...]]:
    """The overview of each volume."""
    return {
        item.series_instance_uid: tuple(
            picture.path
            for volume in item.volumes
            for picture in volume.pictures
            if picture.view is View.OVERVIEW
        )
        for item in series
    }
