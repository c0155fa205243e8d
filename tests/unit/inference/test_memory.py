"""What an examination needs is told from its shape, and compared with what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.app.batch import find
from dicomnode.config import Settings
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.series import sort_series
from dicomnode.domain import SegmentKind, VerdictKind
from dicomnode.errors import ExaminationFailedError, ExaminationPostponedError, RenderingError
from dicomnode.inference import assessment, memory
from dicomnode.inference.examine import examine
from dicomnode.inference.memory import Memory, NetworkSize, needed_bytes, require
from tests.factories import make_series
from tests.unit.inference.test_examine_choice import Network

SMALL = NetworkSize((2.5, 2.5, 2.5), (16, 16, 16), outputs=2, features=16)
GIGABYTE = 10**9


def geometry(folder: Path, slices: int = 8) -> SliceGeometry:
    (stack,) = sort_series(make_series(folder / str(slices), slices=slices)).stacks
    return stack.geometry


def test_more_voxels_more_networks_and_finer_grids_need_more(tmp_path: Path) -> None:
    few, many = geometry(tmp_path, 8), geometry(tmp_path, 16)
    fine = NetworkSize((0.5, 0.5, 0.5), (16, 16, 16), outputs=2, features=16)
    labels = NetworkSize((2.5, 2.5, 2.5), (16, 16, 16), outputs=20, features=16)
    on_gpu = NetworkSize((2.5, 2.5, 2.5), (16, 16, 16), outputs=2, features=16, on_cpu=False)
    least = needed_bytes(few, [SMALL])
    assert least < needed_bytes(many, [SMALL])
    assert least < needed_bytes(few, [SMALL, SMALL])
    assert least < needed_bytes(few, [SMALL, fine])
    assert least < needed_bytes(few, [labels])
    assert least > needed_bytes(few, [on_gpu])


def test_defacing_needs_more_than_looking(tmp_path: Path) -> None:
    found = geometry(tmp_path)
    voxels = found.rows * found.columns * len(found.positions_mm)
    more = needed_bytes(found, [SMALL], defacing=True) - needed_bytes(found, [SMALL])
    assert more >= 20 * voxels


def test_slices_are_counted_on_the_grid_that_holds_them(tmp_path: Path) -> None:
    (gapped,) = sort_series(make_series(tmp_path, slices=12, missing=[5, 6])).stacks
    assert needed_bytes(gapped.geometry, [SMALL]) == needed_bytes(geometry(tmp_path, 12), [SMALL])


def test_a_network_of_two_dimensions_has_a_grid_too(tmp_path: Path) -> None:
    flat = NetworkSize((1.0, 1.0), (64, 64), outputs=2, features=32)
    assert needed_bytes(geometry(tmp_path), [flat]) > needed_bytes(geometry(tmp_path), [])


def test_what_fits_is_admitted() -> None:
    require(2 * GIGABYTE, Memory(total=8 * GIGABYTE, free=3 * GIGABYTE))


def test_what_does_not_fit_now_waits() -> None:
    with pytest.raises(ExaminationPostponedError, match=r"about 4\.00 GB, 3\.00 GB are free"):
        require(4 * GIGABYTE, Memory(total=8 * GIGABYTE, free=3 * GIGABYTE))


@pytest.mark.parametrize("most", [0, 2 * GIGABYTE])
def test_what_never_fits_is_set_aside_with_both_figures(most: int) -> None:
    with pytest.raises(ExaminationFailedError, match=r"about 9\.00 GB of memory, and there are"):
        require(9 * GIGABYTE, Memory(total=8 * GIGABYTE, free=8 * GIGABYTE), most)


def test_this_machine_has_memory() -> None:
    found = memory.of_this_machine()
    assert 0 < found.free <= found.total


def test_the_limit_of_a_control_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.of_this_machine() == Memory(1_000_000, 600_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.of_this_machine().total > 1_000_000


def test_a_volume_is_refused_memory_before_it_is_decoded(tmp_path: Path) -> None:
    make_series(tmp_path / "in", slices=8)
    (revision,) = find([tmp_path / "in"]).revisions
    network = Network(SegmentKind.FOREGROUND, "a-foreground")

    def admit(found: SliceGeometry) -> None:
        require(needed_bytes(found, [SMALL]), Memory(1000, 1000))

    with pytest.raises(ExaminationFailedError, match="set aside: a volume needs about"):
        examine(revision, [network], Settings(), tmp_path / "out", admit=admit)
    assert network.seen == []


def test_a_fall_is_kept_with_the_evidence_and_names_the_seg_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpictured(*_: object) -> None:
        raise RenderingError("nobody looks")

    monkeypatch.setattr(assessment, "render", unpictured)
    make_series(tmp_path / "in", slices=8)
    (revision,) = find([tmp_path / "in"]).revisions
    as_wanted = Network(SegmentKind.FOREGROUND, "a-foreground")
    fallen = Network(SegmentKind.FOREGROUND, "a-foreground", falls=("summed up by the CPU",))
    uids = []
    for network in (as_wanted, fallen):
        (volume,) = examine(revision, [network], Settings(), tmp_path / "out").volumes
        assert volume.verdict.kind is VerdictKind.UNDETERMINED
        assert set(network.falls) <= set(volume.evidence.warnings)
        assert volume.segmentation is not None
        uids.append(volume.segmentation.sop_instance_uid)
    assert len(set(uids)) == 2
