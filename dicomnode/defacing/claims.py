"""What the header of a defaced object says of itself (PS3.3 C.12.1.1.7, C.7.1.4, PS3.15 E.3.2)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicomnode.dicom.derived import Code

CLEAN_FEATURES = Code("113102", "DCM", "Clean Recognizable Visual Features Option")
METHOD = "dicomnode: face removed"


def claim_defaced(ds: Dataset) -> None:
    """No face can be recognised; whether a name is left is for the de-identification to say."""
    ds.RecognizableVisualFeatures = "NO"
    add_method(ds, METHOD, CLEAN_FEATURES)


def add_method(ds: Dataset, method: str, code: Code) -> None:
    """(0012,0063) and (0012,0064) gain an entry; one that stands there is not repeated."""
    said = ds.get("DeidentificationMethod") or ()
    methods = [said] if isinstance(said, str) else [str(one) for one in said]
    if method not in methods:
        ds.DeidentificationMethod = [*methods, method]
    codes = list(ds.get("DeidentificationMethodCodeSequence") or ())
    if all(item.get("CodeValue") != code.value for item in codes):
        ds.DeidentificationMethodCodeSequence = Items([*codes, code.item()])
