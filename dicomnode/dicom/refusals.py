"""Refusing a series in plain language, with the attribute and the values that led to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NoReturn

from pydicom.dataset import Dataset

from dicomnode.dicom.header import printable, shown, value
from dicomnode.domain import Refusal, RefusalCode, SetAside
from dicomnode.errors import SeriesRefusedError


def refuse(
    code: RefusalCode, sentence: str, attribute: str = "", values: Iterable[object] = ()
) -> NoReturn:
    """At most eight values, short and printable, so that a record stays readable."""
    raise SeriesRefusedError(Refusal(code, sentence, attribute, _few(values)))


def merged(aside: Iterable[SetAside]) -> tuple[SetAside, ...]:
    """One entry for each finding, with the values and the number of all images that have it."""
    found: dict[tuple[str, str, str], list[SetAside]] = {}
    for item in aside:
        refusal = item.refusal
        found.setdefault((refusal.code, refusal.sentence, refusal.attribute), []).append(item)
    return tuple(
        SetAside(replace(alike[0].refusal, values=_all_values(alike)), sum(i.images for i in alike))
        for alike in found.values()
    )


def _all_values(alike: Sequence[SetAside]) -> tuple[str, ...]:
    return _few(dict.fromkeys(value for item in alike for value in item.refusal.values))


def _few(values: Iterable[object]) -> tuple[str, ...]:
    texts = tuple(map(shown, values))
    return texts if len(texts) <= 8 else (*texts[:7], f"and {len(texts) - 7} more")


def distinct(datasets: Sequence[Dataset], keyword: str) -> list[str]:
    """Every value, in full: they are compared too."""
    return sorted({_in_full(value(ds, keyword)) for ds in datasets})


def _in_full(found: object) -> str:
    if found is None:
        return "(absent)"
    if isinstance(found, Iterable) and not isinstance(found, str):
        return "\\".join(printable(str(item)) for item in found)
    return printable(str(found))
