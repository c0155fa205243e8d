"""The SOP Classes whose images can be slices of a volume, with the modality that each has."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

EXAMINED_SOP_CLASSES = {
    CTImageStorage: "CT",
    EnhancedCTImageStorage: "CT",
    LegacyConvertedEnhancedCTImageStorage: "CT",
    MRImageStorage: "MR",
    EnhancedMRImageStorage: "MR",
    LegacyConvertedEnhancedMRImageStorage: "MR",
}
MULTI_FRAME_SOP_CLASSES = frozenset(EXAMINED_SOP_CLASSES) - {CTImageStorage, MRImageStorage}


def modality_of(ds: Dataset) -> str:
    """Of an examined image, by its SOP Class: Modality may be absent."""
    return EXAMINED_SOP_CLASSES[ds.SOPClassUID]
