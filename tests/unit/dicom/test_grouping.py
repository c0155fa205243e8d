"""Groups are a partition of the images, whatever a scanner put into one series."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomnode.dicom.grouping import group_images
from dicomnode.dicom.groups import Group
from dicomnode.dicom.images import PixelLocation, SourceImage
from tests.factories import AXIAL, CORONAL, SAGITTAL


def image(number: int, place: int = 0, **attributes: object) -> SourceImage:
    ds = Dataset()
    ds.SOPInstanceUID = f"1.2.{number}"
    ds.InstanceNumber = number
    ds.ImageOrientationPatient = list(AXIAL)
    ds.ImagePositionPatient = [0.0, 0.0, 3.0 * place]
    ds.PixelSpacing = [1.0, 1.0]
    ds.Rows = ds.Columns = 8
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.FrameOfReferenceUID = "1.3"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    location = PixelLocation(offset=0, length=128)
    return SourceImage(Path(f"{number}.dcm"), ds, location, ExplicitVRLittleEndian)


def labels(groups: list[Group]) -> list[str]:
    return [group.label for group in groups]


def numbers(group: Group) -> list[int]:
    return sorted(int(item.ds.InstanceNumber) for item in group.images)


any_image = st.builds(
    lambda number, place, orientation, rows, echo, trigger, time: image(
        number,
        place,
        ImageOrientationPatient=list(orientation),
        Rows=rows,
        EchoTime=echo,
        TriggerTime=trigger,
        TemporalPositionIdentifier=time,
    ),
    st.integers(1, 60),
    st.integers(0, 6),
    st.sampled_from([AXIAL, SAGITTAL, CORONAL]),
    st.sampled_from([8, 16]),
    st.sampled_from([5.0, 80.0]),
    st.sampled_from([None, 0.0, 12.5, 13.0]),
    st.integers(1, 3),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(any_image, min_size=1, max_size=50), st.randoms())
def test_every_image_is_in_one_group_whatever_the_order(images, shuffler) -> None:  # type: ignore[no-untyped-def]
    for index, item in enumerate(images):
        item.ds.SOPInstanceUID = f"1.2.{index}"
    groups = group_images(images)
    assert sorted(id(item) for group in groups for item in group.images) == sorted(map(id, images))
    assert len(set(labels(groups))) == len(groups)
    shuffled = list(images)
    shuffler.shuffle(shuffled)
    again = group_images(shuffled)
    assert labels(again) == labels(groups)
    assert [numbers(group) for group in again] == [numbers(group) for group in groups]


def test_trigger_times_that_differ_from_slice_to_slice_are_no_volumes() -> None:
    """A cine loop: at each place four phases, each a little later than at the last place."""
    images = [
        image(1 + 4 * place + phase, place, TriggerTime=30.0 * phase + place)
        for place in range(6)
        for phase in range(4)
    ]
    groups = group_images(images)
    assert labels(groups) == [f"repetition {number}" for number in (1, 2, 3, 4)]
    assert all(len(group.images) == 6 for group in groups)


def test_an_attribute_that_differs_along_the_stack_splits_nothing() -> None:
    images = [image(place, place, AcquisitionNumber=place // 3) for place in range(1, 10)]
    assert labels(group_images(images)) == [""]


def test_the_most_telling_attribute_names_the_volumes() -> None:
    images = [
        image(number, place, EchoTime=echo, AcquisitionNumber=number)
        for number, (place, echo) in enumerate((p, e) for p in range(5) for e in (80.0, 9.5))
    ]
    assert labels(group_images(images)) == ["EchoTime 9.5", "EchoTime 80"]


def test_two_attributes_split_one_after_the_other() -> None:
    images = [
        image(number, place, EchoTime=echo, ImageType=["ORIGINAL", "PRIMARY", kind])
        for number, (place, echo, kind) in enumerate(
            (p, e, k) for p in range(5) for e in (5.0, 9.5) for k in ("M", "P")
        )
    ]
    assert labels(group_images(images)) == [
        f"EchoTime {echo}, ImageType ORIGINAL\\PRIMARY\\{kind}"
        for echo in ("5", "9.5")
        for kind in ("M", "P")
    ]


def test_a_volume_that_was_cut_short_keeps_the_others_whole() -> None:
    images = [
        image(1 + 8 * time + place, place, AcquisitionNumber=time + 1)
        for time in range(3)
        for place in range(8 if time < 2 else 3)
    ]
    assert [len(group.images) for group in group_images(images)] == [8, 8, 3]


def test_repetitions_of_different_parts_do_not_mix() -> None:
    images = [
        image(1 + 10 * time + 5 * part + place, place, Rows=(8, 16)[part])
        for time in range(2)
        for part in range(2)
        for place in range(5)
    ]
    groups = group_images(images)
    assert len(groups) == 4
    assert {group.part for group in groups} == {"Rows, Columns 8 x 8", "Rows, Columns 16 x 8"}
