"""What every command asks before it writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dicomnode.commands.common import require_own_data_folder
from dicomnode.config import Settings
from dicomnode.errors import ConfigurationError


def test_a_data_folder_of_another_user_is_not_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(node={"data_folder": tmp_path})  # type: ignore[arg-type]
    require_own_data_folder(settings)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match=f"belongs to {tmp_path.owner()}: run this as"):
        require_own_data_folder(settings)


def test_a_folder_that_is_not_there_yet_is_nobodys(tmp_path: Path) -> None:
    settings = Settings(node={"data_folder": tmp_path / "data"})  # type: ignore[arg-type]
    require_own_data_folder(settings)
