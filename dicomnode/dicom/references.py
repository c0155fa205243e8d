"""What a SEG says of its source images: each slice by the object, and the frame, that holds it.

highdicom takes a stack of multi-frame images only whole and in its own order. So it is given a
single-frame stand-in for each slice, and the references are put right afterwards.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from dicomnode.dicom.images import SourceImage
from dicomnode.dicom.series import SourceStack
from dicomnode.dicom.uids import result_uid

_SINGLE_FRAME = {"CT": CTImageStorage, "MR": MRImageStorage}

Reference = tuple[str, int | None]


def stand_in_class(image: SourceImage) -> str:
    return str(image.ds.SOPClassUID if image.frame is None else _SINGLE_FRAME[image.ds.Modality])


def stand_in_uid(image: SourceImage) -> str:
    uid = str(image.ds.SOPInstanceUID)
    return uid if image.frame is None else result_uid("frame", uid, str(image.frame))


def reference(image: SourceImage) -> Reference:
    """SOP Instance UID and, for a frame of a multi-frame image, its number from 1."""
    return str(image.ds.SOPInstanceUID), None if image.frame is None else image.frame + 1


def reference_in(item: Dataset) -> Reference:
    """That of an item of Source Image Sequence (PS3.3 Table 10-3)."""
    number = item.get("ReferencedFrameNumber")
    return str(item.ReferencedSOPInstanceUID), None if number is None else int(number)


def refer_to_frames(seg: Dataset, source: SourceStack) -> None:
    """Replace the stand-ins in a SEG by the frames that they stand for."""
    of = {stand_in_uid(item): item for item in source.images if item.frame is not None}
    if not of:
        return
    for frame in seg.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                # Frames of several segments share one item: it may have been put right before.
                if (found := of.get(item.ReferencedSOPInstanceUID)) is not None:
                    _refer(item, found)
                    item.ReferencedFrameNumber = (found.frame or 0) + 1
    (series,) = seg.ReferencedSeriesSequence
    objects: dict[str, Dataset] = {}
    for item in series.ReferencedInstanceSequence:
        _refer(item, of[item.ReferencedSOPInstanceUID])
        objects.setdefault(item.ReferencedSOPInstanceUID, item)
    series.ReferencedInstanceSequence = list(objects.values())


def _refer(item: Dataset, image: SourceImage) -> None:
    item.ReferencedSOPClassUID = image.ds.SOPClassUID
    item.ReferencedSOPInstanceUID = image.ds.SOPInstanceUID
