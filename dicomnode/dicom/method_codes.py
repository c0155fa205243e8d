"""How de-identification is told in a header: (0012,0063) and (0012,0064), PS3.3 C.7.1.1."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dicomnode.dicom.derived import Code


def add_method(ds: Dataset, method: str, code: Code) -> None:
    """Both attributes gain an entry; one that stands there is not repeated."""
    said = ds.get("DeidentificationMethod") or ()
    methods = [said] if isinstance(said, str) else [str(one) for one in said]
    if method not in methods:
        ds.DeidentificationMethod = [*methods, method]
    codes = list(ds.get("DeidentificationMethodCodeSequence") or ())
    if all(item.get("CodeValue") != code.value for item in codes):
        ds.DeidentificationMethodCodeSequence = Items([*codes, code.item()])
