"""What a source says of a retrieval when it is over, and who can be asked for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dicomnode.retrieval.content import SeriesContent
from dicomnode.retrieval.deadline import Deadline


@dataclass(frozen=True)
class Report:
    """`succeeded` is the source's opinion; whether all is here is looked up, not believed."""

    succeeded: bool
    sentence: str


class Retriever(Protocol):
    """One way to get a study."""

    def retrieve(
        self, study_instance_uid: str, content: Sequence[SeriesContent], deadline: Deadline
    ) -> Report:
        """Returns when the source has ended. Raises `RetrievalError` where it broke off, and
        `SourceUnavailableError` where no other study would fare better."""
