"""Series that hold more than one volume, from C-STORE to the SEGs in the PACS and the gate."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import FileDataset

from tests.e2e.site import (
    Node,
    Orthanc,
    missing_peers,
    running_node,
    running_orthanc,
    storescu,
    wait_until,
)
from tests.factories import make_series, make_uid
from tests.multiframe import Group, make_multiframe

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(missing_peers()), reason=missing_peers())]

ECHOES = (Group(echo_time_ms=5.0), Group(echo_time_ms=80.0))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Orthanc]]:
    folder = tmp_path_factory.mktemp("site")
    with running_orthanc(folder / "pacs") as pacs, running_node(folder / "node", pacs) as node:
        yield node, pacs


def scout_among_slices(index: int, ds: FileDataset) -> None:
    if index == 0:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def examined(node: Node, series_uid: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        every = node.settled(1)
        return next((s for s in every if s["series_instance_uid"] == series_uid), None)

    found: dict[str, Any] = wait_until("the series is examined", ended, 120, node.log)
    return found


def test_each_volume_of_a_multi_frame_object_has_its_seg_in_the_pacs(
    site: tuple[Node, Orthanc], tmp_path: Path
) -> None:
    node, pacs = site
    made = make_multiframe(tmp_path, groups=ECHOES, slices=12, study="frames", series="echoes")
    source = pydicom.dcmread(made.paths[0])
    assert storescu(node.port, made.paths).returncode == 0
    series = examined(node, source.SeriesInstanceUID)
    assert series["state"] == "examined"
    assert [volume["label"] for volume in series["volumes"]] == ["EchoTime 5", "EchoTime 80"]
    assert series["completed_by"] == "NUMBER_OF_FRAMES"
    segs = [
        pydicom.dcmread(io.BytesIO(pacs.file(item["Instances"][0]))) for item in pacs.seg_series()
    ]
    of_source = [seg for seg in segs if seg.StudyInstanceUID == source.StudyInstanceUID]
    assert len({seg.SeriesInstanceUID for seg in of_source}) == len(series["deliveries"]) == 2
    for seg in of_source:
        (instance,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_a_localizer_inside_a_series_is_set_aside_and_holds_its_study(
    site: tuple[Node, Orthanc], tmp_path: Path
) -> None:
    node, _ = site
    paths = make_series(
        tmp_path, slices=12, study="scout", series="scout", change=scout_among_slices
    )
    assert storescu(node.port, paths).returncode == 0
    series = examined(node, make_uid("scout", "scout"))
    (aside,) = series["refusals"]
    assert (aside["code"], aside["images"]) == ("LOCALIZER", 1)
    assert [volume["images"] for volume in series["volumes"]] == [11]
    gate = node.command("gate", "decide", make_uid("scout"))
    assert gate.returncode == 3
    assert "LOCALIZER" in gate.stdout
