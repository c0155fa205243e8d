"""What is of the machine and may pass, and what is of the series."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from dicomnode.app.examining_process import Tasks, _answer
from dicomnode.domain import Examination, Revision
from dicomnode.errors import SegmentationError, may_pass
from tests.small_examination import no_copies

REVISION = Revision(1, 1, "d" * 64, "1.2", "1.2.3", "CT", ())


def fails(error: Exception) -> dict[str, object]:
    def examine(_: Revision) -> Examination:
        raise error

    return _answer(Tasks(examine, no_copies), REVISION)


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE]
)
def test_an_examination_waits_for_the_machine(code: int) -> None:
    (told,) = fails(OSError(code, "secret")).items()
    assert told[0] == "postponed"
    assert "waits until the machine is mended" in str(told[1])
    assert "secret" not in str(told[1])


def test_the_cause_of_one_of_our_errors_counts() -> None:
    error = SegmentationError("the SEG could not be written")
    error.__cause__ = OSError(errno.ENOSPC, "full")
    assert "postponed" in fails(error)
    assert "failure" in fails(SegmentationError("another mask"))


def test_a_file_that_is_missing_with_its_folder_is_a_mount_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as away:
        (tmp_path / "objects" / "ab.dcm").read_bytes()
    assert may_pass(away.value)
    with pytest.raises(FileNotFoundError) as gone:
        (tmp_path / "ab.dcm").read_bytes()
    assert not may_pass(gone.value)
    assert not may_pass(ValueError("a header"))
