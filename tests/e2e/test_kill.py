"""`kill -9` at random moments of the node: nothing accepted is lost, nothing is doubled.

Where single processes are killed the networks are thresholds, the rest is the node, and
`bench/kill.py` kills as often as you like; where all of it is killed it is the installed program.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa

from bench.small_site import SMALL_ROLES
from dicomnode.config import load
from dicomnode.tracking import schema
from dicomnode.tracking.database import Database
from tests.e2e.site import (
    Node,
    Orthanc,
    missing_peers,
    processes,
    running_node,
    running_orthanc,
    storescu,
    wait_until,
)
from tests.factories import make_series

pytestmark = [
    pytest.mark.peer,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing_peers()), reason=missing_peers()),
]
ROUNDS = int(os.environ.get("DICOMNODE_KILL_ROUNDS", "4"))


def below(node: Node) -> list[int]:
    """The process ids of every role and of its children: receiver, examining process."""
    return sorted(set(processes(node.process.pid)) - {node.process.pid})


def send_until_accepted(node: Node, files: Sequence[Path]) -> None:
    """What a PACS does: what was not answered is sent again."""
    wait_until(
        "the node takes the series",
        lambda: storescu(node.port, files).returncode == 0,
        120,
        node.log,
    )


def test_a_killed_process_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(20261121)
    sources = {
        name: make_series(tmp_path / name, slices=12, series=name, study=name)
        for name in (f"series{number}" for number in range(ROUNDS))
    }
    pacs_folder, node_folder = tmp_path / "pacs", tmp_path / "node"
    with (
        running_orthanc(pacs_folder) as pacs,
        running_node(node_folder, pacs, program=SMALL_ROLES) as node,
    ):
        for files in sources.values():
            send_until_accepted(node, files)
            time.sleep(chance.uniform(0.0, 6.0))
            for pid in chance.sample(below(node), k=1):
                os.kill(pid, signal.SIGKILL)
        series = wait_until(
            "every series is settled", lambda: node.settled(len(sources)), 300, node.log
        )
        assert {item["state"] for item in series} == {"examined"}
        assert {item["instance_count"] for item in series} == {12}
        assert {item["revision"] for item in series} == {1}
        assert all(item["verdict"] for item in series)
        sent = sorted(
            str(pydicom.dcmread(files[0]).SeriesInstanceUID) for files in sources.values()
        )
        assert sorted(series_with_a_seg(pacs)) == sent
        assert sorted(series_with_a_verdict(node)) == sent
        assert_the_spool_holds(node_folder / "data" / "spool", sources.values())


def series_with_a_seg(pacs: Orthanc) -> list[str]:
    """The Series Instance UID that each SEG of the PACS is of."""
    segs = [instance for item in pacs.seg_series() for instance in item["Instances"]]
    read = [pydicom.dcmread(BytesIO(pacs.file(each))) for each in segs]
    return [str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID) for seg in read]


def series_with_a_verdict(node: Node) -> list[str]:
    """The Series Instance UID that each current verdict is of."""
    v, e, s = schema.verdicts, schema.examinations, schema.series
    query = (
        sa.select(s.c.series_instance_uid)
        .join_from(v, e, e.c.id == v.c.examination_id)
        .join(s, s.c.id == e.c.series_id)
        .where(v.c.is_current)
    )
    database = Database(load(node.config).database_url)
    with database.read() as connection:
        found = list(connection.scalars(query))
    database.close()
    return found


def assert_the_spool_holds(spool: Path, sent: Sequence[Sequence[Path]]) -> None:
    stored = {}
    for path in spool.glob("objects/*/*.dcm"):
        data_set = pydicom.dcmread(path)
        stored[str(data_set.SOPInstanceUID)] = data_set.PixelData
    expected = {}
    for files in sent:
        for path in files:
            data_set = pydicom.dcmread(path)
            expected[str(data_set.SOPInstanceUID)] = data_set.PixelData
    assert stored == expected


def test_a_killed_node_starts_again_where_it_was(tmp_path: Path) -> None:
    files = make_series(tmp_path / "sent", slices=12)
    with running_orthanc(tmp_path / "pacs") as pacs:
        with running_node(tmp_path / "a", pacs) as node:
            send_until_accepted(node, files)
            children = below(node)
            node.process.kill()
            node.process.wait(timeout=10)
            wait_until(
                "its roles are gone", lambda: not any(map(is_running, children)), 60, node.log
            )
        with running_node(tmp_path / "a", pacs) as node:
            (series,) = wait_until("settled", lambda: node.settled(1), 120, node.log)
            assert series["state"] == "examined"


def is_running(pid: int) -> bool:
    """What has ended may wait long for somebody to collect it, with no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
