"""Which UIDs pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.dicom.uid_syntax import is_uid, is_well_formed, only_uid


@given(st.text(alphabet="0123456789.٣/\\ a\n\0", max_size=80))
def test_a_uid_is_digits_and_dots_and_never_climbs(value: str) -> None:
    if is_uid(value):
        assert set(value) <= set("0123456789.")
        assert set(value) != {"."}
        assert 0 < len(value) <= 64
    assert only_uid(value) in ("", value)


@given(st.from_regex(r"[0-9.]{1,64}", fullmatch=True))
def test_what_is_well_formed_is_a_uid_too(value: str) -> None:
    assert is_uid(value) or not is_well_formed(value)


@pytest.mark.parametrize(
    "uid", ["1", "0", "1.2.840.10008.1.2", "1.0.20.3", "2.25." + "1" * 39, "1." + "9" * 62]
)
def test_uids_pass(uid: str) -> None:
    assert is_uid(uid)
    assert is_well_formed(uid)


@pytest.mark.parametrize("uid", ["1.02.3", "01.2", "1.00", "1.", ".1", "1..2", "1.2."])
def test_those_that_vendors_made_pass_and_are_seen(uid: str) -> None:
    assert is_uid(uid)
    assert not is_well_formed(uid)


@pytest.mark.parametrize(
    "uid", ["", ".", "..", "1.2\n", " 1.2", "1.2 ", "1.a", "1/2", "1." + "9" * 63, "１.２"]
)
def test_what_is_no_uid_does_not(uid: str) -> None:
    assert not is_uid(uid)
    assert not is_well_formed(uid)
