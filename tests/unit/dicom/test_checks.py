"""What an image says of itself, and what is told of it where it can be no slice."""

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import (
    EnhancedMRColorImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
)

from dicomnode.dicom.refusals import refuse
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError
from tests.factories import make_series
from tests.outcomes import outcome_of

TILED = {
    "Siemens": (0x0019, "SIEMENS MR HEADER", 0x0A, "US", 36),
    "UIH": (0x0065, "Image Private Header", 0x50, "DS", "20"),
}


def refusal_of(folder: Path, **options: Any) -> Refusal:
    outcome = outcome_of(make_series(folder, slices=5, **options))
    assert outcome.volumes == ()
    (aside,) = outcome.set_aside
    assert aside.images == 5
    return aside.refusal


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("vendor", TILED)
def test_a_grid_of_slices_is_no_slice_whatever_its_image_type(
    vendor: str, syntax: str, tmp_path: Path
) -> None:
    group, creator, element, vr, number = TILED[vendor]

    def tiled(_: int, ds: FileDataset) -> None:
        ds.private_block(group, creator, create=True).add_new(element, vr, number)
        del ds.ImagePositionPatient

    refusal = refusal_of(tmp_path, change=tiled, transfer_syntax=syntax)
    assert refusal.code == RefusalCode.MOSAIC
    assert refusal.values == (str(number),)
    assert "Siemens" not in refusal.sentence


@pytest.mark.parametrize(("creator", "number"), [("SIEMENS MR HEADER", 1), ("SOMEBODY ELSE", 36)])
def test_a_slice_that_is_alone_in_its_picture_is_one(
    creator: str, number: int, tmp_path: Path
) -> None:
    def alone(_: int, ds: FileDataset) -> None:
        ds.private_block(0x0019, creator, create=True).add_new(0x0A, "US", number)

    outcome = outcome_of(make_series(tmp_path, slices=5, change=alone))
    assert outcome.codes == set()
    assert len(outcome.volumes) == 1


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_sop_class_tells_the_modality_where_it_is_absent(modality: str, tmp_path: Path) -> None:
    outcome = outcome_of(make_series(tmp_path, slices=5, modality=modality, without=["Modality"]))
    assert outcome.codes == set()
    assert [volume.modality for volume in outcome.volumes] == [modality]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SOPClassUID": EnhancedMRColorImageStorage}, "not Enhanced MR Color Image Storage of"),
        ({"SOPClassUID": PositronEmissionTomographyImageStorage}, "of modality MR"),
        ({"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": None}, "(absent)"),
        ({"Modality": "PT"}, "not MR Image Storage of modality PT"),
    ],
)
def test_what_is_not_examined_is_named(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    refusal = refusal_of(tmp_path, change=change)
    assert refusal.code == RefusalCode.NOT_CT_OR_MR
    assert refusal.sentence.startswith("only CT and MR images of gray values are examined")
    assert told in refusal.sentence


@pytest.mark.parametrize(
    "change",
    [
        {"Modality": "DOE^JANE"},
        {"PhotometricInterpretation": "DOE^JANE"},
        {"ImageType": ["LOCALIZER", "DOE^JANE", "\x1b[2J"]},
        {"Modality": "\x1b[2J"},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_name_in_a_wrong_place_is_not_told(change: dict[str, Any], tmp_path: Path) -> None:
    refusal = refusal_of(tmp_path, change=change)
    told = " ".join((refusal.sentence, *refusal.values))
    assert "(invalid)" in told
    assert "DOE" not in told
    assert told.isprintable()


def test_control_characters_are_never_told() -> None:
    with pytest.raises(SeriesRefusedError) as refused:
        refuse(RefusalCode.NOT_CT_OR_MR, "no", "Modality", ["a\x1b[2Jb\n", "c" * 99])
    assert refused.value.refusal.values == ("a?[2Jb", "c" * 64)  # type: ignore[attr-defined]
