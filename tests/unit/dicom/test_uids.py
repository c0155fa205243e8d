from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID, result_uid

_parts = st.lists(st.text(max_size=20), min_size=1, max_size=4)


@given(_parts)
def test_a_result_uid_is_valid_and_repeatable(parts: list[str]) -> None:
    uid = result_uid(*parts)
    assert UID(uid).is_valid
    assert uid.startswith("2.25.")
    assert result_uid(*parts) == uid


@given(_parts, _parts)
def test_other_parts_give_another_uid(one: list[str], other: list[str]) -> None:
    assert (result_uid(*one) == result_uid(*other)) == (one == other)


def test_the_implementation_class_uid_is_valid() -> None:
    assert UID(IMPLEMENTATION_CLASS_UID).is_valid


def test_result_uids_never_change() -> None:
    assert result_uid("1.2.3", "digest") == "2.25.101200291276513613564093139960247195599"
