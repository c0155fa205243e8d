"""What the header of a defaced object says of itself (PS3.3 C.12.1.1.7, PS3.15 E.3.2)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from dicomnode import __version__
from dicomnode.dicom.derived import Code
from dicomnode.dicom.method_codes import add_method

CLEAN_FEATURES = Code("113102", "DCM", "Clean Recognizable Visual Features Option")


def claim_defaced(ds: Dataset) -> None:
    """No face can be recognised; whether a name is left is for the de-identification to say."""
    ds.RecognizableVisualFeatures = "NO"
    add_method(ds, f"dicomnode {__version__}: face removed", CLEAN_FEATURES)
