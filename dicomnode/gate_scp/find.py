"""C-FIND (PS3.4 Annex C): released studies, and their series and instances; nothing else.

The database holds no attribute of a patient. A key that names one, or anything else that is not
known here, matches nothing unless it is empty: an answer must not look as if it had matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.domain import GateOutcome, WantedDigest
from dicomnode.gate.policy import Policy
from dicomnode.gate.studies import decide_by_findings
from dicomnode.tracking import instances
from dicomnode.tracking.database import Database
from dicomnode.tracking.findings import SeriesFinding
from dicomnode.tracking.studies import pages

# Of each level: the keys that can be matched, the unique key of the level last (PS3.4 C.6.2.1).
LEVELS = {
    "STUDY": ("ModalitiesInStudy", "StudyInstanceUID"),
    "SERIES": ("StudyInstanceUID", "Modality", "SeriesInstanceUID"),
    "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"),
}
# They say how a question is asked, not what for.
_NO_KEYS = ("QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC")


_UIDS_AT_A_TIME = 200


class TooManyStudiesError(Exception):
    """A question for which more studies would have to be looked at than the gate does."""


class BadQuestionError(Exception):
    """An identifier that is none of this information model; the sentence says why."""


@dataclass(frozen=True)
class Question:
    """`wanted` are the values of the keys that can be matched; one that is empty matches all.

    `others` are the keywords that can't be matched and aren't empty.
    """

    level: str
    wanted: dict[str, frozenset[str]]
    others: tuple[str, ...]
    asked_for: tuple[DataElement, ...]


def read_question(identifier: Dataset) -> Question:
    """Raises `BadQuestionError`; no value of it is quoted, since it may name a patient."""
    level = str(identifier.get("QueryRetrieveLevel", "")).strip()
    if level not in LEVELS:
        raise BadQuestionError("Query/Retrieve Level has to be STUDY, SERIES or IMAGE")
    wanted = {keyword: _values(identifier, keyword) for keyword in LEVELS[level]}
    above = LEVELS[level][:-1]
    for keyword in (name for name in above if name.endswith("InstanceUID")):
        if len(wanted[keyword]) != 1:
            raise BadQuestionError(f"{keyword} has to be one UID at the level {level}")
    uids = chain.from_iterable(wanted[name] for name in LEVELS[level] if name.endswith("UID"))
    if not all(map(is_uid, uids)):
        raise BadQuestionError("a UID of the question is none")
    asked_for = tuple(element for element in identifier if element.keyword not in _NO_KEYS)
    others = tuple(
        element.keyword
        for element in asked_for
        if element.keyword not in LEVELS[level] and not _is_empty(element)
    )
    return Question(level, wanted, others, asked_for)


@dataclass(frozen=True)
class Released:
    """What may leave for one project, as answers to questions.

    A question looks at `maximum_studies`, and at the rest of the page in which that many end.
    """

    database: Database
    policy: Policy
    wanted: WantedDigest
    maximum_studies: int

    def answers(self, question: Question) -> Iterator[Dataset | None]:
        """Studies are decided page by page as the answers are taken.

        None comes before each page, for who asks to see whether somebody still waits: pages
        without an answer may follow each other for long. Raises `DatabaseError` and
        `TooManyStudiesError`.
        """
        if question.others:
            return
        for page in self._pages(question.wanted["StudyInstanceUID"]):
            yield None
            for findings in self._released(page):
                for answer in self._of_study(question, findings):
                    if _matches(answer, question):
                        yield _as_asked(answer, question)

    def _pages(self, uids: frozenset[str]) -> Iterator[Sequence[str]]:
        looked_at = 0
        for page in _in_pages(sorted(uids)) if uids else pages(self.database):
            if looked_at >= self.maximum_studies:
                raise TooManyStudiesError
            yield page
            looked_at += len(page)

    def _released(self, page: Sequence[str]) -> Iterator[Sequence[SeriesFinding]]:
        decided = decide_by_findings(self.database, page, self.policy, self.wanted)
        for decision, findings in decided:
            if decision.outcome is GateOutcome.RELEASE:
                yield findings

    def _of_study(self, question: Question, findings: Sequence[SeriesFinding]) -> Iterator[Dataset]:
        if question.level == "STUDY":
            yield _study(findings)
        elif question.level == "SERIES":
            yield from map(_series, findings)
        else:
            (series_uid,) = question.wanted["SeriesInstanceUID"]
            study_uid = findings[0].study_instance_uid
            for page in instances.pages_of_series(self.database, study_uid, series_uid):
                for sop_class_uid, sop_instance_uid in page:
                    yield _instance(study_uid, series_uid, sop_class_uid, sop_instance_uid)


def _in_pages(uids: Iterable[str]) -> Iterator[Sequence[str]]:
    rest = iter(uids)
    while page := list(islice(rest, _UIDS_AT_A_TIME)):
        yield page


def _study(findings: Sequence[SeriesFinding]) -> Dataset:
    answer = Dataset()
    answer.StudyInstanceUID = findings[0].study_instance_uid
    answer.ModalitiesInStudy = sorted({one.modality for one in findings} - {""})
    answer.NumberOfStudyRelatedSeries = len(findings)
    answer.NumberOfStudyRelatedInstances = sum(one.instance_count for one in findings)
    return answer


def _series(finding: SeriesFinding) -> Dataset:
    answer = Dataset()
    answer.StudyInstanceUID = finding.study_instance_uid
    answer.SeriesInstanceUID = finding.series_instance_uid
    answer.Modality = finding.modality
    answer.NumberOfSeriesRelatedInstances = finding.instance_count
    return answer


def _instance(study_uid: str, series_uid: str, sop_class_uid: str, uid: str) -> Dataset:
    answer = Dataset()
    answer.StudyInstanceUID = study_uid
    answer.SeriesInstanceUID = series_uid
    answer.SOPClassUID = sop_class_uid
    answer.SOPInstanceUID = uid
    return answer


def _matches(answer: Dataset, question: Question) -> bool:
    """PS3.4 C.2.2.2.1 and C.2.2.2.2: single values, lists of UIDs; any value of several."""
    return all(
        not wanted or wanted & _values(answer, keyword)
        for keyword, wanted in question.wanted.items()
    )


def _as_asked(answer: Dataset, question: Question) -> Dataset:
    """What was asked for, empty where it is not known, and the level and its unique keys."""
    for element in question.asked_for:
        if element.tag not in answer:
            answer.add_new(element.tag, element.VR, [] if element.VR == "SQ" else None)
    kept = {element.tag for element in question.asked_for}
    for element in list(answer):
        if element.tag not in kept and not element.keyword.endswith("InstanceUID"):
            del answer[element.tag]
    answer.QueryRetrieveLevel = question.level
    return answer


def _values(data_set: Dataset, keyword: str) -> frozenset[str]:
    """Its values, without spaces around them; none where it is universal (PS3.4 C.2.2.2.3)."""
    element = data_set.get(keyword)
    if element is None or element == "":
        return frozenset()
    several = [element] if isinstance(element, str) else element
    values = {str(value).strip(" \0") for value in several}
    return frozenset() if "*" in values else frozenset(values - {""})


def _is_empty(element: DataElement) -> bool:
    if element.VR == "SQ":
        return all(_is_empty(inner) for item in element.value for inner in item)
    return element.is_empty or str(element.value).strip(" \0") in ("", "*")
