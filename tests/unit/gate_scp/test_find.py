"""Which questions the gate understands, and what it refuses to answer."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from dicomnode.gate_scp.find import BadQuestionError, read_question


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


def test_a_value_that_is_no_uid_is_refused_and_not_quoted() -> None:
    asked = identifier(QueryRetrieveLevel="STUDY")
    asked.add_new("StudyInstanceUID", "LO", "Doe^John")
    with pytest.raises(BadQuestionError) as raised:
        read_question(asked)
    assert "Doe" not in str(raised.value)


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
