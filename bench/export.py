"""How fast released studies leave, beside the same files without a gate in between.

    python bench/export.py --instances 400 --pixels 512

Receives and marks as examined one study of that many CT-sized slices, then measures on loopback,
with dcmtk as sender and archive: `cp` of the files and `dicomnode export` into a folder; storescu
straight to storescp, through the gate's DICOM door, and `dicomnode export` to the archive; and what
the gate holds. Times are of a wall clock, with the start of Python in those of `dicomnode`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dicomnode.tracking.decisions import DecisionKind
from tests.integration.gate_scp.door import STORESCU, Site, running_archive, running_gate, site
from tests.unit.gate.released import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--pixels", type=int, default=512, help="rows and columns of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, site(Path(folder) / "site", 3600.0) as at:
        size = {"rows": options.pixels, "columns": options.pixels, "slices": options.instances}
        study = at.study("study", **size)
        megabytes = sum(file.stat().st_size for file in study.files) / 1e6
        print(f"{len(study.files)} instances, {megabytes:.0f} MB")
        for name, seconds in measured(at, study):
            each_ms = 1000 * seconds / len(study.files)
            print(f"{name:34} {seconds:7.2f} s {each_ms:7.2f} ms each")


def measured(at: Site, study: Study) -> list[tuple[str, float]]:
    out = at.folder / "out"
    found = [("cp", timed(lambda: copied(study, at.folder / "copy")))]
    found.append(("export into a folder", timed(lambda: exported(at, study, str(out)))))
    with running_archive(at), running_gate(at):
        direct, gate = at.archive_port, at.port
        found.append(("storescu to storescp", timed(lambda: sent(study.files, "RESEARCH", direct))))
        found.append(
            ("storescu through the gate", timed(lambda: sent(study.files, "RESEARCH7", gate)))
        )
        found.append(("export to storescp", timed(lambda: exported(at, study, "research"))))
        at.say(series_of(at), DecisionKind.NOT_DEFACED)
        held = timed(lambda: sent(study.files, "RESEARCH7", gate))
        found.append(("storescu to the gate, all held", held))
    return found


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def copied(study: Study, folder: Path) -> None:
    folder.mkdir()
    for file in study.files:
        shutil.copyfile(file, folder / file.name)
    os.sync()


def exported(at: Site, study: Study, to: str) -> None:
    listed = at.folder / "studies.txt"
    listed.write_text(f"{study.uid}\n")
    words = ["export", "-p", "cohort-7", "--to", to, "--studies", str(listed), "--by", "bench"]
    run([sys.executable, "-m", "dicomnode.cli", *words, "--again", "--config", str(at.config)])


def sent(files: Sequence[Path], called: str, port: int) -> None:
    title = ["-aet", "DESK", "-aec", called]
    run([STORESCU, *title, "-R", "127.0.0.1", str(port), *map(str, files)])


def run(command: list[str]) -> None:
    environment = os.environ | {"TCP_NODELAY": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)


def series_of(at: Site) -> str:
    with at.database.read() as connection:
        row = connection.exec_driver_sql("SELECT series_instance_uid FROM series").one()
    return str(row[0])


if __name__ == "__main__":
    main()
