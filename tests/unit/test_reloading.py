"""What a running process makes of a changed configuration file."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicomnode.config import SCPSettings, Settings, load
from dicomnode.errors import ConfigurationError
from dicomnode.meters import Meters
from dicomnode.reloading import FIXED, Reloader, change, follow, with_settings_of

DESTINATION = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "10.0.0.1"\nport = 104\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[node]\ndata_folder = "{tmp_path}"\n')
    return path


@pytest.fixture
def reloader(file: Path) -> Iterator[Reloader]:
    before, level = signal.getsignal(signal.SIGHUP), logging.getLogger("dicomnode").level
    made = Reloader(file, load(file), Meters())
    made.listen()
    yield made
    signal.signal(signal.SIGHUP, before)
    logging.getLogger("dicomnode").setLevel(level)


def test_every_fixed_key_exists() -> None:
    for key in FIXED:
        section, _, name = key.partition(".")
        field = Settings.model_fields[section]
        assert not name or name in type(field.get_default()).model_fields, key


def test_what_needs_a_restart_is_what_the_document_says() -> None:
    document = Path(__file__).parents[2] / "docs" / "monitoring.md"
    (line,) = [line for line in document.read_text().splitlines() if "`needs_restart`" in line]
    assert {key for key in FIXED if f"`{key}`" not in line} == set()


def test_what_needs_a_restart_stays_and_is_named_and_the_rest_changes(file: Path) -> None:
    current = load(file)
    file.write_text(
        file.read_text()
        + 'log_level = "DEBUG"\n[scp]\nport = 104\nmaximum_associations = 3\n'
        + f"[verdict]\nface_visible_ml = 99.0\n{DESTINATION}"
    )
    found = change(current, load(file))
    assert found.kept == ("scp.port", "verdict")
    assert found.changed == ("node.log_level", "scp.maximum_associations", "destinations")
    assert (found.settings.scp.port, found.settings.scp.maximum_associations) == (11112, 3)
    assert found.settings.verdict == current.verdict
    assert found.settings.destinations[0].host == "10.0.0.1"


def test_an_unchanged_file_changes_nothing(file: Path) -> None:
    found = change(load(file), load(file))
    assert (found.changed, found.kept) == ((), ())
    assert found.settings == load(file)


@dataclass
class Beside:
    settings: Settings


def test_what_runs_beside_a_role_gets_its_new_settings_once_they_are_applied() -> None:
    old, new = Settings(), Settings(scp=SCPSettings(ae_title="NEW"))
    beside = [Beside(old), Beside(old)]
    with_settings_of(lambda apply: apply(new), *beside)(lambda _: None)
    assert [one.settings for one in beside] == [new, new]

    def refuse(_: Settings) -> None:
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError):
        with_settings_of(lambda apply: apply(old), *beside)(refuse)
    assert [one.settings for one in beside] == [new, new]


def test_nothing_is_read_before_somebody_asks(reloader: Reloader, file: Path) -> None:
    file.write_text("nonsense")
    reloader.poll(lambda _: pytest.fail("nobody asked"))


def test_sighup_brings_the_new_file_once(
    reloader: Reloader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(file.read_text() + f'log_level = "DEBUG"\n{DESTINATION}')
    os.kill(os.getpid(), signal.SIGHUP)
    applied: list[Settings] = []
    reloader.poll(applied.append)
    reloader.poll(applied.append)
    (new,) = applied
    assert new.destinations[0].name == "pacs"
    assert logging.getLogger("dicomnode").level == logging.DEBUG


def test_an_invalid_file_is_told_and_the_old_configuration_stays(
    reloader: Reloader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = file.read_text()
    file.write_text(good + "[scp]\nprot = 1\n")
    os.kill(os.getpid(), signal.SIGHUP)
    reloader.poll(lambda _: pytest.fail("applied"))
    assert "scp.prot: unknown key" in caplog.text
    file.write_text(good + DESTINATION)
    os.kill(os.getpid(), signal.SIGHUP)
    applied: list[Settings] = []
    reloader.poll(applied.append)
    assert len(applied) == 1


def test_what_can_not_be_applied_is_told_and_tried_again_the_next_time(
    reloader: Reloader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(file.read_text() + DESTINATION)

    def refuse(_new: Settings) -> None:
        raise ConfigurationError("web.token_file: gone")

    os.kill(os.getpid(), signal.SIGHUP)
    reloader.poll(refuse)
    assert "web.token_file: gone" in caplog.text
    os.kill(os.getpid(), signal.SIGHUP)
    applied: list[Settings] = []
    reloader.poll(applied.append)
    assert applied[0].destinations


@pytest.mark.parametrize("error", [ConfigurationError("gone"), OSError(24, "too many open files")])
def test_a_child_that_can_not_apply_it_goes_on_and_says_so(
    reloader: Reloader, file: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def refuse(_new: Settings) -> None:
        raise error

    file.write_text(file.read_text() + 'log_level = "DEBUG"\n')
    logger = logging.getLogger("dicomnode")
    logger.setLevel(logging.WARNING)
    follow(refuse, load(file))
    assert str(error) in caplog.text
    assert logger.level == logging.WARNING
    follow(lambda _new: None, load(file))
    assert logger.level == logging.DEBUG
