"""Which pictures a volume has, where they lie, and who can read them."""

from __future__ import annotations

import hashlib
import stat
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicomnode.app.batch import find
from dicomnode.config import Settings
from dicomnode.domain import ExaminedVolume, SegmentKind, Verdict, VerdictKind, View
from dicomnode.errors import RenderingError
from dicomnode.inference import assessment, examine
from dicomnode.inference.cuts import MarkedVolume
from dicomnode.inference.pictures import write_pictures
from dicomnode.inference.rendering import Renderings
from dicomnode.training.drawn import draw_head
from tests.factories import make_series

VERDICT = Verdict(VerdictKind.FACE_VISIBLE, "face-is-gone", 1, ("a face",))
CUTS = (View.AXIAL, View.CORONAL, View.SAGITTAL)
SHEETS = (View.AXIAL_SHEET, View.CORONAL_SHEET, View.SAGITTAL_SHEET)


def head() -> MarkedVolume:
    drawn = draw_head(1, "CT", spacing_mm=4.0)
    masks = {SegmentKind.FOREGROUND: drawn.foreground, SegmentKind.FACE: drawn.face}
    return MarkedVolume(
        drawn.array,
        (4.0, 4.0, 4.0),
        "CT",
        {kind: mask.astype(np.uint8) for kind, mask in masks.items()},
    )


def skin() -> Renderings:
    file = BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "PNG")
    return Renderings({View.FRONT: file.getvalue()}, {View.FRONT: file.getvalue()})


def test_every_cut_and_side_comes_plain_and_marked_and_sheets_show_the_whole_head(
    tmp_path: Path,
) -> None:
    pictures = write_pictures(tmp_path, "", head(), VERDICT, skin())
    marked = {(picture.view, picture.has_masks) for picture in pictures}
    both = {(view, masks) for view in (*CUTS, View.FRONT) for masks in (False, True)}
    assert marked == both | {(view, True) for view in (View.OVERVIEW, *SHEETS)}
    assert len({picture.path for picture in pictures}) == len(pictures)
    for picture in pictures:
        with Image.open(picture.path) as image:
            assert image.size == (picture.width_pixels, picture.height_pixels)
        if picture.view in CUTS:
            assert max(image.size) >= 512


def test_pictures_are_for_the_nodes_account_alone_and_named_by_their_digest(
    tmp_path: Path,
) -> None:
    for picture in write_pictures(tmp_path / "new", "-2", head(), VERDICT, skin()):
        assert stat.S_IMODE(picture.path.stat().st_mode) == 0o600
        assert hashlib.sha256(picture.path.read_bytes()).hexdigest() == picture.sha256
        assert picture.path.stem.endswith("-2")


def test_the_same_volume_has_the_same_cuts_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    first = write_pictures(tmp_path, "", head(), VERDICT, skin())
    assert write_pictures(tmp_path, "", head(), VERDICT, skin()) == first
    assert {path.name for path in tmp_path.iterdir()} == {one.path.name for one in first}


def test_a_folder_that_can_not_be_written_fails_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RenderingError, match="could not be written"):
        write_pictures(tmp_path / "file", "", head(), VERDICT, skin())


def examined(folder: Path) -> tuple[ExaminedVolume, ...]:
    make_series(folder / "in", slices=8, modality="MR")
    (revision,) = find([folder / "in"]).revisions
    return examine.examine(revision, [], Settings(), folder / "out").volumes


def test_without_vtk_the_examination_says_why_there_are_no_pictures_of_the_skin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(*_: object) -> Renderings:
        raise RenderingError("VTK is not installed: pip install 'dicomnode[surface]'")

    monkeypatch.setattr(assessment, "render", render)
    (volume,) = examined(tmp_path)
    assert {picture.view for picture in volume.pictures} == {View.OVERVIEW, *CUTS, *SHEETS}
    assert "VTK is not installed" in volume.evidence.unpictured


def test_later_volumes_of_a_long_series_have_their_overview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "PICTURED_VOLUMES", 0)
    (volume,) = examined(tmp_path)
    assert [picture.view for picture in volume.pictures] == [View.OVERVIEW]
    assert "first" in volume.evidence.unpictured
