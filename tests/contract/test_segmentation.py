"""What every SEG of the node keeps to, whatever series it is of."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicomnode.config import SegmentationSettings
from dicomnode.dicom.file_format import read_received
from dicomnode.dicom.segmentation import verify_segmentation, write_segmentation
from dicomnode.dicom.series import SourceStack
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID
from dicomnode.domain import ModelIdentity, SegmentationFile, SegmentKind
from dicomnode.errors import SegmentationError
from tests.factories import CORONAL, SAGITTAL, make_series, make_uid, oblique
from tests.stacks import only_stack


def _rounded_differently(index: int, ds: FileDataset) -> None:
    ds.ImageOrientationPatient = [1, 0, index * 1e-5, 0, 1, -index * 1e-5]
    ds.PixelSpacing = [2 + index * 1e-5, 2]
    ds.SliceThickness = 4 + index * 0.1


def _malformed_instance_uid(index: int, ds: FileDataset) -> None:
    ds.SOPInstanceUID = f"1.2..03.{index}."


SERIES: dict[str, dict[str, Any]] = {
    "rounded differently per slice": {"change": _rounded_differently},
    "cosines with three digits": {"orientation": (0.866, 0.5, 0.0, -0.483, 0.837, 0.259)},
    "invalid UIDs": {
        "change": {
            "StudyInstanceUID": "1.2.03.4",
            "SeriesInstanceUID": "1.2.3.004",
            "FrameOfReferenceUID": "1.2..3",
        }
    },
    "invalid SOP Instance UIDs": {"change": _malformed_instance_uid},
    "axial MR": {},
    "axial CT": {"modality": "CT"},
    "sagittal oblique": {"orientation": oblique(100, 7, 85), "pixel_spacing_mm": (2.0, 2.5)},
    "coronal": {"orientation": CORONAL},
    "swapped cosines": {"orientation": (-1, 0, 0, 0, -1, 0)},
    "tilted": {"modality": "CT", "tilt_degrees": 18},
    "a slice missing": {"missing": [5]},
    "sagittal, odd pixel count": {"orientation": SAGITTAL, "rows": 31, "columns": 33},
    "no frame of reference": {"without": ["FrameOfReferenceUID"]},
    "no type 2 attributes": {
        "without": [
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "StudyID",
            "StudyDate",
            "StudyTime",
            "SeriesDate",
            "SeriesTime",
            "AcquisitionDate",
            "AcquisitionTime",
            "ReferringPhysicianName",
            "SeriesNumber",
            "SliceThickness",
        ]
    },
}

MODELS = {
    kind: ModelIdentity(kind, f"test-{kind}", "1.2", hashlib.sha256(kind.encode()).hexdigest())
    for kind in SegmentKind
}


def drawn_mask(source: SourceStack, seed: int = 0) -> NDArray[np.uint8]:
    """An asymmetric body that leaves the first and last slices empty."""
    mask = np.zeros(source.geometry.shape, np.uint8)
    mask[2:-2, 3:20, 5:24] = 1
    mask[3, 1, 2] = mask[-3, 18, 1] = 1
    noise = np.random.default_rng(seed).random(mask.shape) < 0.3
    return (mask & ~noise).astype(np.uint8)


def drawn_masks(source: SourceStack) -> dict[ModelIdentity, NDArray[np.uint8]]:
    """A body, an area beside and in it, and a face inside of the body: segments overlap, and
    each has slices without it."""
    body = drawn_mask(source)
    area, face = np.zeros_like(body), np.zeros_like(body)
    area[1:5, 1:9, 15:30] = 1
    face[3:-3, 5:9, 7:20] = body[3:-3, 5:9, 7:20]
    return dict(zip(MODELS.values(), (body, area, face), strict=True))


def write(
    source: SourceStack,
    out: Path,
    masks: Mapping[ModelIdentity, NDArray[np.uint8]] | None = None,
    **settings: Any,
) -> SegmentationFile:
    return write_segmentation(
        drawn_masks(source) if masks is None else masks,
        source,
        series_instance_uid=make_uid("seg series"),
        sop_instance_uid=make_uid("seg"),
        settings=SegmentationSettings(**settings),
        out=out / "segmentation.dcm",
    )


@pytest.fixture(params=SERIES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> SourceStack:
    return only_stack(make_series(tmp_path / "series", **SERIES[request.param]))


@pytest.fixture
def plain(tmp_path: Path) -> SourceStack:
    return only_stack(make_series(tmp_path / "series"))


def test_the_masks_come_back_voxel_for_voxel(source: SourceStack, tmp_path: Path) -> None:
    file = write(source, tmp_path)
    verify_segmentation(file, drawn_masks(source), source)
    assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_its_pixel_digest_is_the_one_that_the_intake_finds_when_it_comes_back(
    plain: SourceStack, tmp_path: Path, syntax: UID
) -> None:
    file = write(plain, tmp_path)
    seg = pydicom.dcmread(file.path)
    seg.PatientID, seg.file_meta.TransferSyntaxUID = "corrected", syntax
    returned = tmp_path / "returned.dcm"
    seg.save_as(returned, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert read_received("name", returned).pixel_sha256 == file.pixel_sha256
    assert file.pixel_sha256 == hashlib.sha256(seg.PixelData).hexdigest()


def test_highdicom_reads_the_same_masks(source: SourceStack, tmp_path: Path) -> None:
    file = write(source, tmp_path)
    if source.frame_of_reference_uid is None:
        pytest.skip("highdicom wants a Frame of Reference UID")
    pixels = hd.seg.segread(file.path).get_pixels_by_source_instance(
        [ds.SOPInstanceUID for ds in source.datasets],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    expected = np.stack(list(drawn_masks(source).values()), axis=-1)
    assert np.array_equal(pixels > 0, expected > 0)


def test_two_writes_make_the_same_bytes(source: SourceStack, tmp_path: Path) -> None:
    one, other = write(source, tmp_path / "1"), write(source, tmp_path / "2")
    assert one.path.read_bytes() == other.path.read_bytes()


def test_its_bytes_are_those_that_pydicom_writes(
    source: SourceStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = write(source, tmp_path / "ours")

    def by_pydicom(seg: FileDataset, stream: Any) -> None:
        seg.save_as(stream, enforce_file_format=True)

    monkeypatch.setattr("dicomnode.dicom.segmentation._write", by_pydicom)
    theirs = write(source, tmp_path / "theirs")
    assert ours.path.read_bytes() == theirs.path.read_bytes()


def test_it_refers_to_the_series_as_delivered(source: SourceStack, tmp_path: Path) -> None:
    seg = pydicom.dcmread(write(source, tmp_path).path)
    assert seg.StudyInstanceUID == source.study_instance_uid
    assert seg.SeriesInstanceUID != source.series_instance_uid
    assert seg.get("FrameOfReferenceUID") == source.frame_of_reference_uid
    (referenced,) = seg.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == source.series_instance_uid
    delivered = [ds.SOPInstanceUID for ds in source.datasets]
    instances = [item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence]
    assert set(instances) == set(delivered)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        index = delivered.index(image.ReferencedSOPInstanceUID)
        assert (
            frame.PlanePositionSequence[0].ImagePositionPatient
            == source.datasets[index].ImagePositionPatient
        )
    numbers = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in seg.PerFrameFunctionalGroupsSequence
    ]
    assert [numbers.count(number) for number in (1, 2, 3)] == [
        int(mask.any(axis=(1, 2)).sum()) for mask in drawn_masks(source).values()
    ]


def test_each_kind_is_one_coded_and_coloured_segment(plain: SourceStack, tmp_path: Path) -> None:
    file = write(plain, tmp_path)
    seg = pydicom.dcmread(file.path)
    assert seg.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert seg.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert (seg.SegmentationType, seg.SegmentsOverlap, seg.InstanceNumber) == ("BINARY", "YES", 1)
    assert file.segments == tuple(SegmentKind)
    assert [segment.SegmentNumber for segment in seg.SegmentSequence] == [1, 2, 3]
    for kind, segment in zip(SegmentKind, seg.SegmentSequence, strict=True):
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert algorithm.AlgorithmName == MODELS[kind].name
        assert algorithm.AlgorithmVersion == MODELS[kind].version
        assert MODELS[kind].sha256 in algorithm.AlgorithmParameters
        assert len(segment.RecommendedDisplayCIELabValue) == 3
        (coded,) = segment.SegmentedPropertyTypeCodeSequence
        private = kind is SegmentKind.ANONYMISED_AREA
        assert coded.CodingSchemeDesignator == ("99DICOMNODE" if private else "SCT")
    (identified,) = seg.CodingSchemeIdentificationSequence
    assert identified.CodingSchemeDesignator == "99DICOMNODE"
    for keyword in ("SegmentLabel", "RecommendedDisplayCIELabValue"):
        assert len({str(segment[keyword].value) for segment in seg.SegmentSequence}) == 3


@pytest.mark.parametrize("kinds", [(0,), (2,), (0, 2), (2, 1), (2, 0, 1)])
def test_segments_are_numbered_in_the_order_of_their_kinds(
    kinds: tuple[int, ...], plain: SourceStack, tmp_path: Path
) -> None:
    drawn = list(drawn_masks(plain).items())
    masks = dict(drawn[index] for index in kinds)
    file = write(plain, tmp_path, masks)
    verify_segmentation(file, masks, plain)
    assert file.segments == tuple(list(SegmentKind)[index] for index in sorted(kinds))
    seg = pydicom.dcmread(file.path)
    assert [item.SegmentNumber for item in seg.SegmentSequence] == list(range(1, len(kinds) + 1))
    assert all(
        len(item.SegmentIdentificationSequence) == 1
        for item in seg.PerFrameFunctionalGroupsSequence
    )


def test_masks_that_do_not_overlap_are_said_not_to(plain: SourceStack, tmp_path: Path) -> None:
    body, face = np.zeros((2, *plain.geometry.shape), np.uint8)
    body[:, :9], face[:, 9:] = 1, 1
    masks = {MODELS[SegmentKind.FOREGROUND]: body, MODELS[SegmentKind.FACE]: face}
    assert pydicom.dcmread(write(plain, tmp_path, masks).path).SegmentsOverlap == "NO"


def test_series_number_and_description_are_stable(plain: SourceStack, tmp_path: Path) -> None:
    file = write(plain, tmp_path, series_number_offset=500, series_description="masks")
    seg = pydicom.dcmread(file.path)
    assert (seg.SeriesNumber, seg.SeriesDescription) == (501, "masks")
    assert seg.SeriesInstanceUID == make_uid("seg series")


def test_an_empty_mask_or_none_is_an_error(plain: SourceStack, tmp_path: Path) -> None:
    masks = drawn_masks(plain)
    masks[MODELS[SegmentKind.FACE]] = np.zeros(plain.geometry.shape, np.uint8)
    with pytest.raises(SegmentationError, match="face mask is empty"):
        write(plain, tmp_path, masks)
    with pytest.raises(SegmentationError, match="no mask"):
        write(plain, tmp_path, {})


def test_two_masks_of_one_kind_are_an_error(plain: SourceStack, tmp_path: Path) -> None:
    model = MODELS[SegmentKind.FACE]
    masks = dict.fromkeys((model, replace(model, version="2")), drawn_mask(plain))
    with pytest.raises(SegmentationError, match="same kind"):
        write(plain, tmp_path, masks)


def test_a_mask_of_another_shape_is_an_error(plain: SourceStack, tmp_path: Path) -> None:
    with pytest.raises(SegmentationError, match="shape"):
        write(plain, tmp_path, {MODELS[SegmentKind.FACE]: np.ones((2, 3, 4), np.uint8)})


def test_values_that_no_parser_likes_are_dropped_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stars(_: int, ds: FileDataset) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds.PatientName = "***"
            ds.add_new("PatientBirthDate", "DA", "********")
            ds.add_new("PatientAge", "AS", "****")
            ds.add_new("PatientSex", "CS", "?")
            ds.add_new("StudyDate", "DA", "***")

    paths = make_series(tmp_path / "series", change=stars)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        source = only_stack(paths)
        file = write(source, tmp_path)
    verify_segmentation(file, drawn_masks(source), source)
    seg = pydicom.dcmread(file.path)
    assert not any("***" in record.getMessage() for record in caplog.records)
    assert (seg.PatientBirthDate, seg.PatientSex, seg.StudyDate) == ("", "", "")
    assert "PatientAge" not in seg
    (record,) = (record for record in caplog.records if record.name == "dicomnode.dicom")
    repairs: tuple[str, ...] = record.repairs  # type: ignore[attr-defined]
    assert any("PatientBirthDate" in sentence for sentence in repairs)
    assert "***" not in " ".join(repairs)


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "山田^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO 2022 IR 100", "Åse"),
    ],
)
def test_names_survive_their_character_set(
    character_set: str | list[str], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change = {"SpecificCharacterSet": character_set, "PatientName": name}
    source = only_stack(make_series(tmp_path / "series", change=change))
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        file = write(source, tmp_path)
    assert str(pydicom.dcmread(file.path).PatientName) == name
    said = [str(item.message) for item in caught] + [
        record.getMessage() for record in caplog.records
    ]
    assert not any(name in sentence for sentence in said)


def _flip_a_bit(seg: FileDataset) -> None:
    pixels = bytearray(seg.PixelData)
    pixels[len(pixels) // 2] ^= 4
    seg.PixelData = bytes(pixels)


def _swap_two_frames(seg: FileDataset) -> None:
    first, second = (seg.PerFrameFunctionalGroupsSequence[index] for index in (0, 1))
    first.DerivationImageSequence, second.DerivationImageSequence = (
        second.DerivationImageSequence,
        first.DerivationImageSequence,
    )


def _shrink_pixels(seg: FileDataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.9, 2]


def _another_frame_of_reference(seg: FileDataset) -> None:
    seg.FrameOfReferenceUID = make_uid("elsewhere")


def _swap_the_numbers_of_two_segments(seg: FileDataset) -> None:
    for frame in seg.PerFrameFunctionalGroupsSequence:
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = {1: 3, 2: 2, 3: 1}[item.ReferencedSegmentNumber]


def _swap_two_descriptions(seg: FileDataset) -> None:
    first, second, third = seg.SegmentSequence
    first.SegmentNumber, third.SegmentNumber = 3, 1
    seg.SegmentSequence = [third, second, first]


def _lose_a_segment(seg: FileDataset) -> None:
    seg.SegmentSequence = seg.SegmentSequence[:2]


def _refer_to_one_slice_twice(seg: FileDataset) -> None:
    first, second = (seg.PerFrameFunctionalGroupsSequence[index] for index in (0, 1))
    second.DerivationImageSequence = first.DerivationImageSequence
    second.PlanePositionSequence = first.PlanePositionSequence


def _lose_the_last_frame(seg: FileDataset) -> None:
    seg.PerFrameFunctionalGroupsSequence = seg.PerFrameFunctionalGroupsSequence[:-1]
    seg.NumberOfFrames -= 1


def _cut_pixel_data(seg: FileDataset) -> None:
    seg.PixelData = seg.PixelData[:-8]


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_bit,
        _swap_two_frames,
        _shrink_pixels,
        _another_frame_of_reference,
        _refer_to_one_slice_twice,
        _lose_the_last_frame,
        _cut_pixel_data,
        _swap_the_numbers_of_two_segments,
        _swap_two_descriptions,
        _lose_a_segment,
    ],
)
def test_verification_finds_a_wrong_seg(
    damage: Callable[[FileDataset], None], plain: SourceStack, tmp_path: Path
) -> None:
    file = write(plain, tmp_path)
    seg = pydicom.dcmread(file.path)
    damage(seg)
    seg.save_as(file.path)
    with pytest.raises(SegmentationError):
        verify_segmentation(file, drawn_masks(plain), plain)


def test_verification_finds_a_file_that_is_none(plain: SourceStack, tmp_path: Path) -> None:
    file = write(plain, tmp_path)
    file.path.write_bytes(b"nothing")
    with pytest.raises(SegmentationError, match="read again"):
        verify_segmentation(file, drawn_masks(plain), plain)


def test_a_folder_that_cannot_be_written_is_said(plain: SourceStack, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SegmentationError):
        write(plain, tmp_path / "taken")


def test_nothing_but_the_seg_is_left_behind(plain: SourceStack, tmp_path: Path) -> None:
    file = write(plain, tmp_path / "out")
    assert list(file.path.parent.iterdir()) == [file.path]
