"""UIDs that break the rules of PS3.5 9.1 but real vendors made, and long or padded AE titles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from dicomnode.config import Settings
from dicomnode.dicom.series import sort_series
from tests.factories import make_series
from tests.hostile.raw_sender import associated, encoded, send
from tests.integration.scp.receiving import (
    Node,
    data_set_bytes,
    needs_dcmtk,
    running,
    shared_settings,
    storescu,
    wait_until,
)

VENDORS = {
    "leading zeros": "1.2.840.0113619.{}.007",
    "an empty component": "1.2..840.{}",
    "a dot at the end": "1.2.840.{}.",
    "a dot at the beginning": ".1.2.840.{}",
}
NEVER = ["1.2.x.{}", "1.2/{}", "1.2 .{}", "1.2.3\\{}", "1." + "0" * 62 + "{}"]


@pytest.fixture(scope="module", params=["accept", "refuse"])
def shared_node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp(request.param)
    settings = shared_settings(folder, malformed_uids=request.param)
    with running(settings, folder / "node") as started:
        yield started


@pytest.fixture
def node(shared_node: Node) -> Node:
    return shared_node.mark()


def series_of(folder: Path, name: str, uid: str) -> list[Path]:
    """Six slices whose study, series and instance UIDs are all made after `uid`."""

    def change(index: int, ds: FileDataset) -> None:
        ds.StudyInstanceUID = uid.format("1")
        ds.SeriesInstanceUID = uid.format("2")
        ds.SOPInstanceUID = uid.format(f"3.{index + 1}")

    return make_series(folder, slices=6, series=name, change=change)


def send_all(node: Node, images: list[Path]) -> set[int | None]:
    with associated(node.settings.scp.port) as association:
        return {
            send(
                association,
                encoded(path)[0],
                sop_instance_uid=str(dcmread(path, stop_before_pixels=True).SOPInstanceUID),
            ).status
            for path in images
        }


@pytest.mark.parametrize("kind", VENDORS)
def test_those_of_vendors_are_taken_or_refused_as_configured_and_recorded(
    node: Node, tmp_path: Path, kind: str
) -> None:
    images = series_of(tmp_path / "made", kind, VENDORS[kind])
    if node.settings.scp.malformed_uids == "refuse":
        assert send_all(node, images) == {0xC001}
        wait_until(lambda: len(node.quarantined()) == 6)
        assert {kept.reason for kept in node.quarantined()} == {"bad_uid"}
        assert "scp.malformed_uids" in node.quarantined()[0].sentence
        assert node.objects() == []
        return
    assert send_all(node, images) == {0x0000}
    wait_until(lambda: len(node.events("malformed uid accepted")) == 6)
    (*_, event) = node.events("malformed uid accepted")
    assert event.detail["attributes"] == "SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID"
    # The series flows on: its slices are one volume, with the UIDs as they came.
    (stack,) = sort_series(node.objects()).stacks
    assert len(stack.images) == 6


@pytest.mark.parametrize("uid", NEVER)
def test_what_is_no_uid_is_refused_under_any_policy(node: Node, tmp_path: Path, uid: str) -> None:
    image = series_of(tmp_path / "made", uid, uid)[0]
    with associated(node.settings.scp.port) as association:
        assert send(association, encoded(image)[0], sop_instance_uid="1.2.3").status == 0xC001
    assert node.objects() == []
    wait_until(lambda: len(node.quarantined()) == 1)
    assert not node.events("malformed uid accepted")


@pytest.mark.peer
@needs_dcmtk
@pytest.mark.parametrize("calling", ["SIXTEEN_LETTERS_", "  PADDED  ", "A B"])
def test_ae_titles_of_any_legal_shape_are_known_and_recorded(
    make_settings: Callable[..., Settings], tmp_path: Path, calling: str
) -> None:
    """PS3.5 6.2, VR AE: 16 characters, spaces around them count for nothing."""
    called = "SIXTEEN_LETTERS2"
    settings = make_settings(
        scp={"ae_title": called, "allowed_calling_ae_titles": [calling, "OTHER"]}
    )
    (image,) = make_series(tmp_path / "made", slices=1)
    with running(settings, tmp_path / "node") as node:
        sent = storescu(node, image, options=("-aet", calling))
        assert sent.returncode == 0, sent.stderr
        (stored,) = node.objects()
        padded = storescu(node, image, options=("-aet", calling, "-aec", f"{called[:15]} "))
        assert padded.returncode != 0, "another called AE title"
    meta = dcmread(stored, stop_before_pixels=True).file_meta
    assert meta.SendingApplicationEntityTitle == calling.strip()
    assert meta.ReceivingApplicationEntityTitle == called


@pytest.mark.peer
@needs_dcmtk
def test_a_called_ae_title_with_spaces_around_it_is_ours(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (image,) = make_series(tmp_path / "made", slices=1)
    with running(make_settings(scp={"ae_title": "NODE"}), tmp_path / "node") as node:
        assert storescu(node, image, options=("-aec", "NODE   ")).returncode == 0
        assert data_set_bytes(node.objects()[0]) == data_set_bytes(image)


def test_a_uid_too_long_for_a_request_ends_its_association_only(node: Node, tmp_path: Path) -> None:
    """pynetdicom reads no such request; nothing is stored, and the node goes on."""
    (image,) = make_series(tmp_path / "made", slices=1, series=tmp_path.name)
    with associated(node.settings.scp.port) as association:
        answer = send(association, data_set_bytes(image), sop_instance_uid="1.2", claimed="1" * 70)
    assert answer.status != 0x0000
    assert node.objects() == []
    assert send_all(node, [image]) == {0x0000}
