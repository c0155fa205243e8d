"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from dicomnode.domain import RefusalCode
from dicomnode.intake.refusals import REFUSALS
from dicomnode.scp.receiver import SUCCESS

ROOT = Path(__file__).parents[2]
CONFORMANCE = (ROOT / "docs" / "conformance.md").read_text()


def test_every_status_that_is_answered_is_documented_and_no_other() -> None:
    documented = {int(text, 16) for text in re.findall(r"^\| (0x\w{4}) \|", CONFORMANCE, re.M)}
    assert documented == {SUCCESS, *(status for status, _ in REFUSALS.values())}


def test_every_refusal_code_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", CONFORMANCE, re.M))
    assert documented == {code.value for code in RefusalCode}


def test_the_readme_points_at_files_that_exist() -> None:
    for name in re.findall(r"\]\((docs/[\w.]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).is_file(), name
