"""The commands as a user runs them."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dicomnode.inference.models import STARTER_FOLDER
from dicomnode.tracking import quarantine
from dicomnode.tracking.database import Database
from dicomnode.tracking.quarantine import QuarantinedObject
from tests.command_line import dicomnode
from tests.e2e import site
from tests.factories import make_series


@pytest.fixture
def config(tmp_path: Path, free_port: int) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[node]\ndata_folder = "{tmp_path / "data"}"\n[scp]\nport = {free_port}\n')
    return path


def test_examine_gives_every_series_a_line_and_its_masks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_series(source / "a", series="one", study="a", slices=16)
    make_series(source / "deep" / "b", series="two", study="b", slices=16, modality="CT")
    volume = np.random.default_rng(1).normal(100, 10, (20, 24, 28)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([3.0, 3.0, 3.0, 1.0])), source / "scan.nii.gz")
    done = dicomnode("examine", str(source), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert line["verdict"]["reasons"]
        assert set(line["evidence"]["volumes_ml"]) == {"foreground", "anonymised_area", "face"}
        assert (Path(line["folder"]) / "overview.png").is_file()
        if line["segmentation"] is not None:
            assert Path(line["segmentation"]["path"]).name == "segmentation.dcm"
            assert Path(line["segmentation"]["path"]).is_file()
            assert line["segmentation"]["segments"]
    (nifti,) = [Path(line["folder"]) for line in lines if "path" in line]
    mask = nib.load(nifti / "foreground.nii.gz")
    assert mask.shape == (20, 24, 28)
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 3


def test_one_bad_file_never_stops_the_rest(tmp_path: Path) -> None:
    source = tmp_path / "source"
    good = make_series(source / "good", series="good", slices=16)
    make_series(source / "single", series="single", slices=1)
    (source / "broken.dcm").write_bytes(good[0].read_bytes()[:600])
    (source / "not-dicom.bin").write_bytes(b"something else")
    (source / "empty.nii.gz").write_bytes(b"")
    done = dicomnode("examine", str(source), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum("error" in line for line in lines) >= 2
    assert [line["refusal"]["code"] for line in lines if line.get("refusal")].count(
        "TOO_FEW_SLICES"
    ) == 1
    assert sum(bool(line.get("verdict")) for line in lines) == 1
    assert "Traceback" not in done.stderr


def test_an_empty_folder_is_said_and_no_success(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    done = dicomnode("examine", str(tmp_path / "source"), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "no DICOM or NIfTI file in it" in done.stderr


def test_an_unknown_key_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[scp]\nprot = 104\n")
    done = dicomnode("serve", "--config", str(path))
    assert done.returncode == 2
    assert "scp.prot: unknown key" in done.stderr


def test_a_configuration_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    done = dicomnode("status", "--config", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        f"dicomnode: {tmp_path}: can't be read: Is a directory\n",
    )


def test_a_busy_port_refuses_to_start(config: Path, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        done = site.dicomnode("serve", "--config", str(config))
    assert done.returncode == 2
    assert f"port {free_port} on 127.0.0.1 is used by another process" in done.stderr


def test_a_changed_network_is_not_loaded(tmp_path: Path, config: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(STARTER_FOLDER, models)
    checkpoint = next(models.rglob("checkpoint_final.pth"))
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\0")
    config.write_text(config.read_text() + f'[inference]\nmodels_folder = "{models}"\n')
    for command in ("work", "serve"):
        done = site.dicomnode(command, "--config", str(config))
        assert done.returncode == 2, done.stderr
        assert "SHA-256" in done.stderr
    assert dicomnode("models", "verify", "--config", str(config)).returncode == 2


def test_the_gate_does_not_know_a_study_that_never_came(config: Path) -> None:
    assert dicomnode("db", "migrate", "--config", str(config)).returncode == 0
    done = dicomnode("gate", "decide", "1.2.3", "--json", "--config", str(config))
    assert done.returncode == 4
    assert json.loads(done.stdout)["outcome"] == "unknown_study"
    assert dicomnode("status", "1.2.3", "--config", str(config)).returncode == 1


def test_what_was_not_accepted_can_be_listed(config: Path, tmp_path: Path) -> None:
    assert dicomnode("db", "migrate", "--config", str(config)).returncode == 0
    done = dicomnode("quarantine", "list", "--config", str(config))
    assert (done.returncode, done.stdout) == (0, "nothing is in quarantine\n")
    found = QuarantinedObject(datetime.now(UTC), "a/b.dcm", "conflict", "a sentence", 7, "1.2.3")
    with Database(f"sqlite:///{tmp_path}/data/tracking.sqlite").begin() as connection:
        quarantine.add(connection, [found])
    done = dicomnode("quarantine", "list", "--json", "--config", str(config))
    (listed,) = json.loads(done.stdout)
    assert listed["sentence"] == "a sentence"
    assert listed["sop_instance_uid"] == "1.2.3"


def test_how_often_each_refusal_was_recorded_can_be_asked(config: Path) -> None:
    assert dicomnode("db", "migrate", "--config", str(config)).returncode == 0
    done = dicomnode("status", "--refusals", "--config", str(config))
    assert (done.returncode, done.stdout) == (0, "nothing was refused or set aside\n")
    done = dicomnode("status", "--refusals", "--json", "--config", str(config))
    assert json.loads(done.stdout) == []
    done = dicomnode("status", "--json", "--config", str(config))
    assert json.loads(done.stdout) == []
    done = dicomnode("status", "1.2.3", "--refusals", "--config", str(config))
    assert (done.returncode, done.stdout) == (1, "")
    assert "leave the UID out" in done.stderr


def test_a_question_to_the_wrong_folder_is_no_empty_answer(config: Path) -> None:
    done = dicomnode("status", "--config", str(config))
    assert done.returncode == 1
    assert "no such database" in done.stderr


def test_check_finds_a_sound_site_sound_and_a_dead_destination_dead(config: Path) -> None:
    assert dicomnode("check", "--config", str(config)).returncode == 0
    config.write_text(
        config.read_text()
        + '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n'
    )
    done = dicomnode("check", "--config", str(config))
    assert done.returncode == 1
    assert "destination pacs" in done.stdout
