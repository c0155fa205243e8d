"""One study: what the source says it is, the retrieval, and whether all of it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dicomnode.config import Settings, SourceSettings
from dicomnode.errors import RetrievalError, SourceUnavailableError
from dicomnode.intake.running import running_intake
from dicomnode.retrieval.content import Catalogue, SeriesContent
from dicomnode.retrieval.deadline import Deadline
from dicomnode.retrieval.find import catalogue_of
from dicomnode.retrieval.get import Getter
from dicomnode.retrieval.move import Mover, require_receiver
from dicomnode.retrieval.report import Report, Retriever
from dicomnode.retrieval.wado import WebRetriever
from dicomnode.tracking import pulls
from dicomnode.tracking.completeness import Source
from dicomnode.tracking.database import Database
from dicomnode.tracking.expected import expect_counts

# Rows follow the files; this long without a new one, and what is missing did not come.
_ROWS_SECONDS = 5.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Pulled:
    """How many instances the source named, how many of them are here, and what it said."""

    expected: int
    received: int
    sentence: str

    @property
    def is_whole(self) -> bool:
        return self.received >= self.expected


class StudyPuller:
    """Pulls studies from one source, one at a time."""

    def __init__(
        self,
        catalogue: Catalogue,
        retriever: Retriever,
        database: Database,
        *,
        source: str,
        patience_seconds: float,
        study_seconds: float,
    ) -> None:
        self._source = source
        self._catalogue = catalogue
        self._retriever = retriever
        self._database = database
        self._patience_seconds = patience_seconds
        self._study_seconds = study_seconds

    def pull(self, study_instance_uid: str) -> Pulled:
        """Nothing is asked for when all of the study is here already.

        Raises `RetrievalError` where the source does not say what the study is, or has none.
        """
        deadline = Deadline(self._study_seconds)
        content = self._catalogue.content(study_instance_uid, deadline)
        expected = sum(series.count for series in content)
        self._expect(study_instance_uid, content)
        if not expected:
            raise RetrievalError("the source has no such study")
        if self._received(study_instance_uid, content) == expected:
            return Pulled(expected, expected, "it was here already")
        report = self._retrieve(study_instance_uid, content, deadline)
        patience = self._patience_seconds if report.succeeded else _ROWS_SECONDS
        received = self._await_rows(study_instance_uid, content, patience, deadline)
        return Pulled(expected, received, report.sentence)

    def _retrieve(
        self, study_instance_uid: str, content: Sequence[SeriesContent], deadline: Deadline
    ) -> Report:
        try:
            return self._retriever.retrieve(study_instance_uid, content, deadline)
        except SourceUnavailableError:
            raise
        except RetrievalError as error:  # some of it may have come
            return Report(False, str(error))

    def _await_rows(
        self,
        study_instance_uid: str,
        content: Sequence[SeriesContent],
        patience_seconds: float,
        deadline: Deadline,
    ) -> int:
        """Wait until all of it has rows, or until no new one came for `patience_seconds`."""
        expected = sum(series.count for series in content)
        received, patient_until = -1, 0.0
        while True:
            now = self._received(study_instance_uid, content)
            if now > received:
                received, patient_until = now, time.monotonic() + patience_seconds
            if received >= expected or time.monotonic() > patient_until or deadline.is_over:
                return received
            time.sleep(_POLL_SECONDS)

    def _received(self, study_instance_uid: str, content: Sequence[SeriesContent]) -> int:
        with self._database.read() as connection:
            here = pulls.received_instances(connection, study_instance_uid)
        return sum(
            _received_of(series, here.get(series.series_instance_uid, frozenset()))
            for series in content
        )

    def _expect(self, study_instance_uid: str, content: Sequence[SeriesContent]) -> None:
        """Tell completeness how large each series is, so that it need not guess."""
        counts = {series.series_instance_uid: series.count for series in content}
        with self._database.begin() as connection:
            expect_counts(connection, study_instance_uid, counts, Source.PULL, self._source)


def _received_of(series: SeriesContent, here: frozenset[str]) -> int:
    """A source that names fewer instances than it counts is believed in its count."""
    if len(series.instances) < series.count:
        return min(series.count, len(here))
    return len(here & series.instances.keys())


@contextmanager
def study_puller(
    source: SourceSettings, settings: Settings, database: Database
) -> Iterator[StudyPuller]:
    """Ready to pull; raises `RetrievalError` where this node is not ready to receive."""
    with _retriever(source, settings, database) as retriever:
        catalogue = catalogue_of(source, settings)
        yield StudyPuller(
            catalogue,
            retriever,
            database,
            source=source.ae_title or source.name,
            patience_seconds=source.timeout_seconds,
            study_seconds=settings.pull.study_timeout_seconds,
        )


@contextmanager
def _retriever(
    source: SourceSettings, settings: Settings, database: Database
) -> Iterator[Retriever]:
    if source.retrieve == "move":
        require_receiver(settings)
        yield Mover(source, settings, _arrived(database))
        return
    with running_intake(settings) as intake:
        getter = Getter if source.retrieve == "get" else WebRetriever
        yield getter(source, settings, intake)


def _arrived(database: Database) -> Callable[[str], int]:
    def count(study_instance_uid: str) -> int:
        with database.read() as connection:
            here: Mapping[str, frozenset[str]] = pulls.received_instances(
                connection, study_instance_uid
            )
        return sum(map(len, here.values()))

    return count
