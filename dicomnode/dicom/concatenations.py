"""Objects that are pieces of one multi-frame object (PS3.3 C.7.6.16.2.2.4)."""

from __future__ import annotations

from collections.abc import Iterable

from dicomnode.dicom.header import number, text
from dicomnode.dicom.images import SourceImage
from dicomnode.domain import Refusal, RefusalCode, SetAside


def missing_parts(images: Iterable[SourceImage]) -> list[SetAside]:
    """One entry for each concatenation that says that it has more objects than are here.

    What is here may look whole, so what is missing is recorded as if it had been refused.
    """
    totals: dict[str, int] = {}
    here: dict[str, set[str]] = {}
    for item in images:
        if (uid := text(item.ds, "ConcatenationUID")) is not None:
            here.setdefault(uid, set()).add(text(item.ds, "SOPInstanceUID") or "")
            totals[uid] = int(number(item.ds, "InConcatenationTotalNumber") or 0)
    return [
        _lacking(totals[uid], len(parts)) for uid, parts in here.items() if len(parts) < totals[uid]
    ]


def _lacking(total: int, here: int) -> SetAside:
    sentence = "objects of a concatenation are missing, so a part of the volume is"
    values = (f"{here} of {total}",)
    refusal = Refusal(RefusalCode.MULTIFRAME, sentence, "InConcatenationTotalNumber", values)
    return SetAside(refusal, total - here)
