"""The documents point at what there is; what conformance.md says is in test_conformance.py."""

from __future__ import annotations

import re
from pathlib import Path

from dicomnode.config import VerdictSettings
from dicomnode.inference.verdict import RULE_VERSION

ROOT = Path(__file__).parents[2]


def test_the_readme_points_at_files_that_exist() -> None:
    for name in re.findall(r"\]\((docs/[\w.]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).is_file(), name


def test_the_changelog_names_the_rules_version_once_and_the_surface_thresholds() -> None:
    text = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    assert re.findall(r"The rules are version (\d+)", text) == [str(RULE_VERSION)]
    keys = [name for name in VerdictSettings.model_fields if name.startswith("surface_")]
    assert keys
    assert all(f"`verdict.{name}`" in text for name in keys)


def test_who_installs_the_service_is_told_what_pictures_of_the_skin_need() -> None:
    service = (ROOT / "README.md").read_text().partition("### As a service")[2]
    assert "libegl1" in service.partition("### ")[0]
