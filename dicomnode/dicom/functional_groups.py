"""Multi-frame objects as single images: the header that each frame would have alone.

Enhanced and Legacy Converted Enhanced objects keep what is equal in all frames in the Shared
Functional Groups and the rest in the Per-Frame Functional Groups (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomnode.dicom.header import number, text, value
from dicomnode.dicom.sop_classes import MULTI_FRAME_SOP_CLASSES
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError

MAXIMUM_FRAMES = 1 << 16

# The macros that are looked into (PS3.3 C.7.6.16.2, C.8.13.5, C.8.15.3). No others: vendors repeat
# standard attributes in private sequences, Philips with positions that are half a pixel away.
_MACROS = frozenset(
    {
        "PixelMeasuresSequence",
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelValueTransformationSequence",
        "FrameContentSequence",
        "TemporalPositionSequence",
        "CardiacSynchronizationSequence",
        "CTImageFrameTypeSequence",
        "CTReconstructionSequence",
        "CTXRayDetailsSequence",
        "MRImageFrameTypeSequence",
        "MRReceiveCoilSequence",
        "MREchoSequence",
        "MRModifierSequence",
        "MRTimingAndRelatedParametersSequence",
        "MRDiffusionSequence",
        "DiffusionGradientDirectionSequence",
        "UnassignedSharedConvertedAttributesSequence",
        "UnassignedPerFrameConvertedAttributesSequence",
    }
)

# What the macros call otherwise than single-frame images do (PS3.3 C.8.13, C.8.15, C.7.6.16.2).
_SINGLE_FRAME_NAMES = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "NominalCardiacTriggerDelayTime": "TriggerTime",
    "InversionTimes": "InversionTime",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
}
FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
FRAME_KEYWORDS = tuple(_SINGLE_FRAME_NAMES)


def is_multi_frame(ds: Dataset) -> bool:
    """By its SOP Class, or because it holds several frames whatever its class says."""
    several = (number(ds, "NumberOfFrames") or 1) > 1
    return several or text(ds, "SOPClassUID") in MULTI_FRAME_SOP_CLASSES


def frame_headers(ds: Dataset, keywords: Collection[str]) -> list[Dataset]:
    """One flat header for each frame, with the `keywords` that are known of it.

    Raises a refusal where the object doesn't describe each of its frames.
    """
    shared = value(ds, "SharedFunctionalGroupsSequence") or ()
    frames: Sequence[Dataset] = value(ds, "PerFrameFunctionalGroupsSequence") or ()
    stated = int(number(ds, "NumberOfFrames") or 1)
    if len(frames) != stated or not 0 < stated <= MAXIMUM_FRAMES:
        raise SeriesRefusedError(
            Refusal(
                RefusalCode.MULTIFRAME,
                f"the object holds {stated} frames and says of {len(frames)} where they lie",
                "NumberOfFrames, PerFrameFunctionalGroupsSequence",
                (str(stated), str(len(frames))),
            )
        )
    common = Dataset()
    _copy((element for element in ds if element.keyword not in FUNCTIONAL_GROUPS), common, keywords)
    _copy(_elements(shared[:1]), common, keywords)
    return [_one(common, frame, keywords) for frame in frames]


def _one(common: Dataset, frame: Dataset, keywords: Collection[str]) -> Dataset:
    header = Dataset()
    header.update(common)
    _copy(_elements([frame]), header, keywords)
    header.pop("NumberOfFrames", None)
    return header


def _elements(items: Sequence[Dataset]) -> Iterator[DataElement]:
    """What the macros in a functional group hold, of each the first item."""
    for item in items:
        for element in item:
            if element.keyword in _MACROS:
                yield from _elements(element.value[:1])
            elif element.VR != "SQ":
                yield element


def _copy(elements: Iterator[DataElement], into: Dataset, keywords: Collection[str]) -> None:
    for element in elements:
        keyword = element.keyword
        if keyword in _SINGLE_FRAME_NAMES:
            setattr(into, _SINGLE_FRAME_NAMES[keyword], element.value)
        elif keyword in keywords:
            into[element.tag] = element
