"""Query SCU, Study Root (PS3.4 C.4.1): what a source has, by C-FIND."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from dicomnode.config import Settings, SourceSettings
from dicomnode.delivery.association import RemoteEntity, associated
from dicomnode.dicom.header import text
from dicomnode.dicom.uid_syntax import only_uid
from dicomnode.errors import RetrievalError, SourceUnavailableError
from dicomnode.retrieval.association import reading, remote_of, retrieval_errors, status_of
from dicomnode.retrieval.content import SeriesContent, stated_count, usable_studies
from dicomnode.retrieval.deadline import Deadline

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"

_UNIQUE_KEYS = ("StudyInstanceUID", "SeriesInstanceUID")
_MOST_MATCHES = 100_000
_PENDING = (0xFF00, 0xFF01)
_OUT_OF_RESOURCES = 0xA700
# PS3.4 Table C.4-1; whatever else is no success is a failure too.
_FAILURES = {
    _OUT_OF_RESOURCES: "out of resources",
    0xA900: "the identifier does not match the SOP Class",
    0xFE00: "cancelled",
    0x0122: "SOP Class not supported",
    0x0124: "not authorised",
}


class DicomCatalogue:
    """A source that is asked by C-FIND, one association for each question."""

    def __init__(self, source: SourceSettings, settings: Settings) -> None:
        self._remote = remote_of(source, settings)

    def matching_studies(self, keys: Mapping[str, str], deadline: Deadline) -> list[str]:
        with self._finding(deadline) as finding:
            asked = dict(keys) | {"StudyInstanceUID": keys.get("StudyInstanceUID", "")}
            matches = finding.matches("STUDY", asked)
        return usable_studies((_text(match, "StudyInstanceUID") for match in matches), self._remote)

    def series_counts(self, study_instance_uid: str, deadline: Deadline) -> dict[str, int]:
        with self._finding(deadline) as finding:
            return {
                uid: len(finding.instances(study_instance_uid, uid)) if count is None else count
                for uid, count in finding.series(study_instance_uid).items()
            }

    def content(self, study_instance_uid: str, deadline: Deadline) -> tuple[SeriesContent, ...]:
        with self._finding(deadline) as finding:
            found = []
            for uid, count in finding.series(study_instance_uid).items():
                instances = finding.instances(study_instance_uid, uid)
                found.append(SeriesContent(uid, max(count or 0, len(instances)), instances))
            return tuple(found)

    @contextmanager
    def _finding(self, deadline: Deadline) -> Iterator[_Finding]:
        context = build_context(STUDY_ROOT_FIND, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
        with (
            retrieval_errors(self._remote),
            associated(self._remote, [context], check=deadline.check) as association,
        ):
            yield _Finding(association, self._remote)


class _Finding:
    """Questions over one association."""

    def __init__(self, association: Association, remote: RemoteEntity) -> None:
        self._association = association
        self._remote = remote

    def series(self, study_instance_uid: str) -> dict[str, int | None]:
        """NumberOfSeriesRelatedInstances is optional at the SCP: None where it is not said."""
        keys = {
            "StudyInstanceUID": study_instance_uid,
            "SeriesInstanceUID": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        return {
            self.uid(match, "SeriesInstanceUID"): _number(match)
            for match in self.matches("SERIES", keys)
        }

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> dict[str, str]:
        keys = {
            "StudyInstanceUID": study_instance_uid,
            "SeriesInstanceUID": series_instance_uid,
            "SOPInstanceUID": "",
            "SOPClassUID": "",
        }
        return {
            self.uid(match, "SOPInstanceUID"): only_uid(_text(match, "SOPClassUID"))
            for match in self.matches("IMAGE", keys)
        }

    def matches(self, level: str, keys: Mapping[str, str]) -> list[Dataset]:
        """All matches, every unique key of which is the one that was asked for.

        Some sources ignore a key that they don't know, and answer with everything.
        """
        identifier = Dataset()
        identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        unique = [k for k, v in keys.items() if k in _UNIQUE_KEYS and v]
        with closing(self._ask(identifier)) as answers:
            return [
                match
                for match in answers
                if all(_text(match, k) in ("", *keys[k].split("\\")) for k in unique)
            ]

    def uid(self, match: Dataset, keyword: str) -> str:
        if uid := only_uid(_text(match, keyword)):
            return uid
        raise RetrievalError(f"{self._remote} answered a C-FIND without a valid {keyword}")

    def _ask(self, identifier: Dataset) -> Generator[Dataset]:
        try:
            responses = self._association.send_c_find(identifier, STUDY_ROOT_FIND)
        except ValueError:
            raise RetrievalError("the matching keys can't be encoded as DICOM") from None
        with reading(responses) as answers:
            for number, (response, match) in enumerate(answers):
                if number > _MOST_MATCHES:
                    raise RetrievalError(f"{self._remote} found more than {_MOST_MATCHES} matches")
                if self._is_pending(response):
                    if match is None:
                        sentence = f"{self._remote} sent a C-FIND answer that can't be read"
                        raise RetrievalError(sentence)
                    yield match

    def _is_pending(self, response: Dataset) -> bool:
        """False for the end; raises for a failure."""
        status = status_of(response, self._remote, "C-FIND", SourceUnavailableError)
        if status in _PENDING:
            return True
        if status != 0x0000:
            meaning = _FAILURES.get(status, "unable to process")
            kind = SourceUnavailableError if status == _OUT_OF_RESOURCES else RetrievalError
            raise kind(f"{self._remote} answered a C-FIND with 0x{status:04X}: {meaning}")
        return False


def _number(match: Dataset) -> int | None:
    return stated_count(_text(match, "NumberOfSeriesRelatedInstances"))


def _text(match: Dataset, keyword: str) -> str:
    """Empty where the element is absent, or can't be read as what it says it is."""
    return text(match, keyword) or ""
