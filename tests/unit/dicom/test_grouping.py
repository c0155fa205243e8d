"""Groups are a partition of the images, whatever a scanner put into one series."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicomnode.dicom.grouping import group_images
from dicomnode.dicom.groups import Group
from dicomnode.dicom.images import PixelLocation, SourceImage
from tests.factories import AXIAL, CORONAL, SAGITTAL


def image(number: int, place: int = 0, **attributes: object) -> SourceImage:
    ds = Dataset()
    ds.SOPClassUID = MRImageStorage
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


@pytest.mark.parametrize("seconds_each", [0.8, 1.7])
def test_times_in_whole_seconds_cut_no_volume_in_two(seconds_each: float) -> None:
    """A second in which one volume ends and the next begins belongs to neither."""
    places, volumes = 20, 6
    images = [
        image(
            places * volume + place + 1,
            place,
            AcquisitionTime=f"1203{int(seconds_each * (volume + place / places)):02d}",
        )
        for volume in range(volumes)
        for place in range(places)
    ]
    found = [numbers(group) for group in group_images(images)]
    assert found == [
        list(range(places * volume + 1, places * (volume + 1) + 1)) for volume in range(volumes)
    ]


@pytest.mark.parametrize("keyword", ["AcquisitionTime", "AcquisitionNumber"])
def test_ends_of_a_stack_that_were_imaged_at_another_moment_stay_with_it(keyword: str) -> None:
    """GE HyperBand: the same two slices of each of three volumes begin a second earlier."""
    images = [
        image(24 * volume + place + 1, place, **{keyword: 120301 if place > 1 else 120300})
        for volume in range(3)
        for place in range(24)
    ]
    assert [len(group.images) for group in group_images(images)] == [24, 24, 24]


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


@pytest.mark.parametrize(
    ("lost", "first"), [({6}, 1), ({1}, 1), ({40}, 1), ({6, 7, 33}, 1), (set(), 7), ({20}, 1001)]
)
@pytest.mark.parametrize("numbered", ["volume after volume", "place after place"])
def test_a_lost_image_moves_no_other_into_another_repetition(
    lost: set[int], first: int, numbered: str
) -> None:
    places, volumes = 8, 5
    by_volume = numbered == "volume after volume"
    images, volume_of = [], {}
    for volume in range(volumes):
        for place in range(places):
            number = 1 + (volume * places + place if by_volume else place * volumes + volume)
            volume_of[number + first - 1] = volume
            if number not in lost:
                images.append(image(number + first - 1, place))
    for group in group_images(images):
        assert len({volume_of[number] for number in numbers(group)}) == 1


def test_repetitions_that_lost_images_and_are_numbered_anew_stay_together_for_a_person() -> None:
    images = [image(1 + place, place) for _ in range(3) for place in range(8)][:-1]
    assert labels(group_images(images)) == [""]


@pytest.mark.parametrize(
    "attributes",
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"ConvolutionKernel": "H30s"}, {"ConvolutionKernel": "H70h"}),
        ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "101530"}),
        ({"NominalPercentageOfCardiacPhase": 40}, {"NominalPercentageOfCardiacPhase": 75}),
    ],
    ids=str,
)
@pytest.mark.parametrize("beside_mm", [0.0, 0.05, 0.3])
def test_stacks_that_lie_a_little_beside_each_other_are_told_apart(
    attributes: tuple[dict[str, object], ...], beside_mm: float
) -> None:
    images = [
        image(
            1 + 8 * index + place,
            ImagePositionPatient=[0.0, 0.0, 3.0 * place + beside_mm * index],
            **given,
        )
        for index, given in enumerate(attributes)
        for place in range(8)
    ]
    assert [numbers(group) for group in group_images(images)] == [
        list(range(1, 9)),
        list(range(9, 17)),
    ]


def test_packages_of_one_stack_that_interleave_stay_one_volume() -> None:
    images = [
        image(number, (2 * number) % 16 + number // 8, AcquisitionNumber=number // 8)
        for number in range(16)
    ]
    assert labels(group_images(images)) == [""]


def test_a_value_that_each_image_has_for_itself_parts_nothing() -> None:
    images = [image(n, n, FrameOfReferenceUID=f"1.3.{n}", StackID=str(n)) for n in range(1, 9)]
    assert labels(group_images(images)) == [""]


def test_an_image_without_a_frame_of_reference_lies_in_the_only_one() -> None:
    images = [image(n, n) for n in range(1, 9)]
    del images[3].ds.FrameOfReferenceUID
    assert labels(group_images(images)) == [""]


def test_labels_do_not_follow_the_rounding_of_a_scanner() -> None:
    def label_of(noise: float) -> list[str]:
        tilted = [1.0, noise, -0.0, -noise, 1.0, 0.0]
        axial = [image(n, n, ImageOrientationPatient=tilted) for n in range(1, 9)]
        return labels(group_images([*axial, image(9, ImageOrientationPatient=list(CORONAL))]))

    assert label_of(0.0) == label_of(2e-4)
