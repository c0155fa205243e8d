"""Refusing a series in plain language, with the attribute and the values that led to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from pydicom.dataset import Dataset

from dicomnode.dicom.header import value
from dicomnode.domain import Refusal, RefusalCode
from dicomnode.errors import SeriesRefusedError


def refuse(
    code: RefusalCode, sentence: str, attribute: str = "", values: Iterable[object] = ()
) -> NoReturn:
    """At most eight values, each at most 64 characters, so that a record stays readable."""
    shown = tuple(str(item)[:64] for item in values)
    if len(shown) > 8:
        shown = (*shown[:7], f"and {len(shown) - 7} more")
    raise SeriesRefusedError(Refusal(code, sentence, attribute, shown))


def distinct(datasets: Sequence[Dataset], keyword: str) -> list[str]:
    found = {_shown(value(ds, keyword)) for ds in datasets}
    return sorted(found)


def _shown(found: object) -> str:
    if found is None:
        return "(absent)"
    if isinstance(found, Iterable) and not isinstance(found, str):
        return "\\".join(map(str, found))
    return str(found)
