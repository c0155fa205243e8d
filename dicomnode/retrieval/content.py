"""What a source says it has, as values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dicomnode.dicom.uid_syntax import only_uid
from dicomnode.retrieval.deadline import Deadline

LOGGER = logging.getLogger("dicomnode.retrieval")

_COUNT_DIGITS = 6  # a million instances in one series: the header is wrong


@dataclass(frozen=True)
class SeriesContent:
    """One series at the source: how many instances it counts, and those that it names.

    `instances` is SOP Instance UID -> SOP Class UID, the class empty where it isn't said. A source
    with a limit on its answers names fewer than it counts.
    """

    series_instance_uid: str
    count: int
    instances: Mapping[str, str]


class Catalogue(Protocol):
    """The questions that a source answers.

    Each raises `RetrievalError` where it does not, or where the deadline has passed.
    """

    def matching_studies(self, keys: Mapping[str, str], deadline: Deadline) -> list[str]:
        """The Study Instance UIDs that match the keyword = value pairs of PS3.4 C.2.2.2."""

    def series_counts(self, study_instance_uid: str, deadline: Deadline) -> dict[str, int]:
        """NumberOfSeriesRelatedInstances by Series Instance UID; empty for an unknown study."""

    def content(self, study_instance_uid: str, deadline: Deadline) -> tuple[SeriesContent, ...]:
        """Every series of the study with its instances; empty for an unknown study."""


def stated_count(text: str) -> int | None:
    """NumberOfSeriesRelatedInstances; None where it is no number, or none that a series has."""
    return int(text) if text.isdecimal() and len(text) <= _COUNT_DIGITS else None


def usable_studies(given: Iterable[str], source: object) -> list[str]:
    """Study Instance UIDs, each once; a bad record in an archive must not hide all the others."""
    found = [only_uid(uid) for uid in given]
    if unusable := found.count(""):
        LOGGER.warning("%s: %d studies without a valid UID are left out", source, unusable)
    return list(dict.fromkeys(uid for uid in found if uid))
