"""The documents point at what there is; what conformance.md says is in test_conformance.py."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_points_at_files_that_exist() -> None:
    for name in re.findall(r"\]\((docs/[\w.]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).is_file(), name
