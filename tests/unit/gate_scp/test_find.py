"""Which questions the gate understands, and what it refuses to answer."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from dicomnode.config_policy import GateSettings
from dicomnode.gate.policy import Policy
from dicomnode.gate_scp import find
from dicomnode.gate_scp.find import BadQuestionError, Released, TooManyStudiesError, read_question
from dicomnode.tracking import instances, studies
from dicomnode.tracking.database import Database
from tests.unit.tracking.rows import instance


def identifier(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"QueryRetrieveLevel": "PATIENT"},
        {"QueryRetrieveLevel": "SERIES"},
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "*"},
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": ["1.2", "1.3"]},
        {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2"},
    ],
)
def test_a_question_that_breaks_the_rules_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(BadQuestionError):
        read_question(identifier(**values))


@pytest.mark.parametrize(
    "value",
    [
        "Doe^John",
        "1' OR '1'='1",
        "1.2'; DROP TABLE series; --",
        "1.%",
        "1.2?",
        "../../etc",
        "1.2\0.3",
    ],
)
def test_a_value_that_is_no_uid_is_refused_and_not_quoted(value: str) -> None:
    asked = identifier(QueryRetrieveLevel="STUDY")
    asked.add_new("StudyInstanceUID", "LO", value)
    with pytest.raises(BadQuestionError) as raised:
        read_question(asked)
    assert value not in str(raised.value)


def test_lists_are_parted_and_stars_match_everything() -> None:
    asked = identifier(
        QueryRetrieveLevel="STUDY", StudyInstanceUID=["1.2", "1.3"], ModalitiesInStudy="*"
    )
    question = read_question(asked)
    assert question.wanted == {
        "StudyInstanceUID": frozenset({"1.2", "1.3"}),
        "ModalitiesInStudy": frozenset(),
    }


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ({"PatientID": "", "PatientName": "*", "StudyDate": None}, ()),
        ({"PatientID": "4711"}, ("PatientID",)),
        ({"StudyDate": "20260101-"}, ("StudyDate",)),
        ({"SpecificCharacterSet": "ISO_IR 192", "TimezoneOffsetFromUTC": "+0100"}, ()),
        ({"NumberOfStudyRelatedInstances": 4}, ("NumberOfStudyRelatedInstances",)),
        ({"ReferencedStudySequence": [Dataset()]}, ()),
        ({"ReferencedStudySequence": [identifier(PatientID="1")]}, ("ReferencedStudySequence",)),
    ],
)
def test_a_value_for_what_is_not_known_is_noticed(
    values: dict[str, object], others: tuple[str, ...]
) -> None:
    question = read_question(identifier(QueryRetrieveLevel="STUDY", **values))
    assert question.others == others


def released_of(database: Database, maximum_studies: int) -> Released:
    policy = Policy("default", GateSettings())
    return Released(database, policy, lambda subjects: "", maximum_studies)


@pytest.mark.parametrize("asked_for", ["", "in a list"])
def test_a_question_looks_at_so_many_studies_and_no_more(
    database: Database, monkeypatch: pytest.MonkeyPatch, asked_for: str
) -> None:
    monkeypatch.setattr(studies, "_PAGE", 2)
    monkeypatch.setattr(find, "_UIDS_AT_A_TIME", 2)
    uids = [f"1.2.{number}" for number in range(1, 7)]
    with database.begin() as connection:
        instances.add(connection, [instance(1, study=uid, series=f"{uid}.1") for uid in uids])
    wanted = uids if asked_for else ""
    question = read_question(identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=wanted))
    assert list(released_of(database, 6).answers(question)) == [None] * 3
    answers = released_of(database, 4).answers(question)
    assert [next(answers), next(answers)] == [None, None]
    with pytest.raises(TooManyStudiesError):
        next(answers)
