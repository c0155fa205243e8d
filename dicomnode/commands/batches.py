"""What commands over folders share: the search, the networks, a report a line, a progress bar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dicomnode.commands.common import progress_bar
from dicomnode.config import Settings
from dicomnode.errors import DicomnodeError

if TYPE_CHECKING:
    from dicomnode.app.batch import Found, Line
    from dicomnode.inference.nnunet import Network


@dataclass(frozen=True)
class BatchRun:
    """`report` writes the lines of one series to the file and to standard output."""

    found: Found
    networks: Sequence[Network]
    report: Callable[[list[Line]], None]
    stage: Callable[[str], None]


@contextmanager
def batch_run(
    paths: Sequence[Path], settings: Settings, out_folder: Path, report_name: str
) -> Iterator[BatchRun]:
    """Raises `DicomnodeError` where nothing is found, `ModelError` where a network is wrong."""
    from dicomnode.app import batch
    from dicomnode.inference.examiner import installed_examiner
    from dicomnode.inference.nnunet import load_networks

    models = installed_examiner(settings).models
    out_folder.mkdir(parents=True, exist_ok=True)
    with progress_bar() as bar, (out_folder / report_name).open("w", encoding="utf-8") as results:
        task = bar.add_task("looking for series", total=None)
        found = batch.find(paths, lambda files: bar.advance(task, files))
        if not found.count:
            raise DicomnodeError(f"{', '.join(map(str, paths))}: no DICOM or NIfTI file in it")
        bar.update(task, description="loading the networks")
        networks = load_networks(models, settings.inference)
        bar.reset(task, total=found.count)

        def report(lines: list[Line]) -> None:
            text = "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)
            results.write(text)
            results.flush()
            print(text, end="", flush=True)
            bar.advance(task)

        def stage(text: str) -> None:
            bar.update(task, description=text)

        yield BatchRun(found, networks, report, stage)
