"""What a person asks for, and what is proposed to a source."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.config import Settings, SourceSettings
from dicomnode.errors import ConfigurationError, RetrievalError
from dicomnode.retrieval.find import (
    QUERY_KEYS,
    checked_uids,
    listed_query_keys,
    listed_uids,
    query_keys,
    source_named,
    visible_query_keys,
)
from dicomnode.retrieval.storage_contexts import (
    MOST_CONTEXTS,
    TRANSFER_SYNTAXES,
    USUAL_SOP_CLASSES,
    storage_contexts,
    storage_roles,
)


def test_an_unknown_source_is_answered_with_those_that_there_are() -> None:
    sources = tuple(SourceSettings(name=name, ae_title="PACS") for name in ("archive", "mirror"))
    with pytest.raises(ConfigurationError, match="archive, mirror"):
        source_named(Settings(sources=sources), "pacs")


def test_only_known_keys_are_matched_and_no_value_is_quoted() -> None:
    assert query_keys(["StudyDate=20240101-20240131", "PatientName=A=B"]) == {
        "StudyDate": "20240101-20240131",
        "PatientName": "A=B",
    }
    for wrong in ("PatientNam=Secret", "Secret", "PatientComments=Secret"):
        with pytest.raises(RetrievalError) as caught:
            query_keys([wrong])
        assert "Secret" not in str(caught.value)
        assert all(key in str(caught.value) for key in QUERY_KEYS)


@pytest.mark.parametrize("key", ["PatientName", "PatientID", "PatientBirthDate"])
def test_what_identifies_a_patient_does_not_stand_on_a_command_line(key: str) -> None:
    with pytest.raises(RetrievalError, match="--query-file") as caught:
        visible_query_keys(["StudyDate=20240101", f"{key}=Secret"])
    assert key in str(caught.value)
    assert "Secret" not in str(caught.value)
    assert listed_query_keys([f"{key}=x\n", "\n", "# StudyDate=1\n"]) == {key: "x"}


def test_a_list_has_one_uid_a_line_and_comments(tmp_path: Path) -> None:
    listed = tmp_path / "studies.txt"
    listed.write_text("# backfill\n1.2.3\n\n  1.2.4  # the second\n")
    assert listed_uids(listed) == ["1.2.3", "1.2.4"]


def test_a_line_that_is_no_uid_is_named_by_its_number(tmp_path: Path) -> None:
    listed = tmp_path / "studies.txt"
    listed.write_text("1.2.3\nWinterbottom\n")
    with pytest.raises(RetrievalError, match="line 2") as caught:
        listed_uids(listed)
    assert "Winterbottom" not in str(caught.value)


def test_an_empty_list_is_said_to_be_empty(tmp_path: Path) -> None:
    listed = tmp_path / "studies.txt"
    listed.write_text("# nothing yet\n")
    with pytest.raises(RetrievalError, match="no Study Instance UID in it"):
        listed_uids(listed)


def test_a_path_is_no_uid() -> None:
    with pytest.raises(RetrievalError):
        checked_uids(["1.2.3/../../instances"])


@given(count=st.integers(1, MOST_CONTEXTS))
def test_every_class_is_proposed_in_every_syntax_and_all_fit(count: int) -> None:
    classes = [f"1.2.3.{number}" for number in range(1, count + 1)]
    contexts = storage_contexts(classes)
    assert len(contexts) <= MOST_CONTEXTS
    proposed = {(c.abstract_syntax, syntax) for c in contexts for syntax in c.transfer_syntax}
    assert proposed == {(uid, syntax) for uid in classes for syntax in TRANSFER_SYNTAXES}


def test_a_study_of_few_classes_has_a_context_for_each_compressed_syntax() -> None:
    single = {str(c.transfer_syntax[0]) for c in storage_contexts(USUAL_SOP_CLASSES[:4])}
    assert single >= set(TRANSFER_SYNTAXES[2:])


def test_more_classes_than_an_association_holds_are_cut_off() -> None:
    assert len(storage_contexts([f"1.2.3.{number}" for number in range(1, 300)])) == MOST_CONTEXTS


def test_this_node_is_the_scp_of_what_it_gets() -> None:
    roles = storage_roles(USUAL_SOP_CLASSES)
    assert len(roles) == len(USUAL_SOP_CLASSES) == len(set(USUAL_SOP_CLASSES))
    assert {(role.scu_role, role.scp_role) for role in roles} == {(False, True)}
