"""Several networks of a kind, as a site configures them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicomnode.config import load
from dicomnode.domain import Examination
from dicomnode.inference.examiner import installed_examiner
from dicomnode.inference.models import STARTER_FOLDER, load_manifest, pin
from dicomnode.tracking import examinations, instances, series
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests.command_line import dicomnode
from tests.factories import make_series
from tests.unit.tracking.rows import STUDY, instance, volume

ANOTHER = "Dataset001_another_face"
RULES = f"""
[[inference.use]]
kind = "face"
network = "{ANOTHER}"
modalities = ["CT"]
[[inference.use]]
kind = "face"
network = "Dataset903_starter_face"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The starter networks, and a face network for CT whose weights are those of the starter."""
    models = tmp_path / "models"
    shutil.copytree(STARTER_FOLDER, models)
    shutil.copytree(models / "Dataset903_starter_face", models / ANOTHER)
    card = json.loads((models / ANOTHER / "card.json").read_text())
    card |= {"name": ANOTHER, "version": "7", "modalities": ["CT"]}
    (models / ANOTHER / "card.json").write_text(json.dumps(card))
    dataset = next((models / ANOTHER).rglob("dataset.json"))
    dataset.write_text(dataset.read_text() + "\n")
    pin(models)
    path = tmp_path / "config.toml"
    path.write_text(
        f'[node]\ndata_folder = "{tmp_path / "data"}"\n[inference]\nmodels_folder = "{models}"\n'
    )
    return path


def test_two_networks_of_a_kind_need_a_rule(config: Path, tmp_path: Path) -> None:
    Database(load(config).database_url).migrate()
    for command in (["work"], ["reexamine"]):
        done = dicomnode(*command, "--config", str(config))
        assert done.returncode == 2, done.stderr
        assert f"2 face networks are installed ({ANOTHER}, Dataset903_starter_face)" in done.stderr
        assert 'no [[inference.use]] with kind = "face"' in done.stderr
    assert dicomnode("models", "list", "--config", str(config)).returncode == 0
    told = dicomnode("status", "--config", str(config))
    assert (told.returncode, told.stdout) == (0, "nothing received yet\n")
    assert "2 face networks" in told.stderr


def test_an_unknown_network_refuses_to_start(config: Path) -> None:
    config.write_text(config.read_text() + RULES.replace(ANOTHER, "Dataset001_misspelt"))
    done = dicomnode("work", "--config", str(config))
    assert done.returncode == 2
    assert "rule 1: there is no face network Dataset001_misspelt; there are " in done.stderr


def test_explain_says_which_network_looks(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + RULES)
    make_series(tmp_path / "in" / "ct", series="ct", modality="CT", slices=8)
    make_series(tmp_path / "in" / "mr", series="mr", modality="MR", slices=8)
    done = dicomnode("explain", str(tmp_path / "in"), "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    face = {
        item["modality"]: item["volumes"][0]["networks"]["face"]
        for item in json.loads(done.stdout)["series"]
    }
    version = load_manifest(STARTER_FOLDER)[0].identity.version
    assert face == {"CT": f"{ANOTHER} 7", "MR": f"Dataset903_starter_face {version}"}


def test_a_change_of_rules_holds_is_shown_and_is_brought_up_to_date(
    config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text() + RULES)
    settings = load(config)
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    database.migrate()
    with database.begin() as connection:
        instances.add(connection, [instance(1)])
        revision = series.add_revision(connection, 1, spool, datetime.now(UTC))
        assert revision is not None
        found = volume()
        digest = installed_examiner(settings).wanted_digest([found.evidence.subject])
        examination = Examination(revision.digest, (found,), examiner_digest=digest)
        examinations.record(connection, revision.id, examination)
    options = ["--config", str(config)]
    assert dicomnode("gate", "decide", STUDY, *options).returncode == 0

    config.write_text(config.read_text() + "[verdict]\nface_visible_ml = 34.0\n")
    held = dicomnode("gate", "decide", STUDY, *options)
    assert held.returncode == 3
    assert "by other software, networks, rules or thresholds" in held.stdout
    told = dicomnode("status", *options)
    assert "1 series were examined by another version: dicomnode reexamine" in told.stderr
    (study,) = json.loads(dicomnode("status", "--json", *options).stdout)
    assert "other software" in study["series"][0]["outdated"]

    wish = dicomnode("reexamine", "--dry-run", *options)
    assert wish.stdout == "1 would be queued, 0 have a job already, 0 left\n"
    done = dicomnode("reexamine", "--json", *options)
    assert json.loads(done.stdout) == {"queued": 1, "waiting": 0, "left": 0, "removed": 0}
    again = dicomnode("reexamine", "--study", STUDY, *options)
    assert again.stdout == "0 queued at low priority, 1 have a job already, 0 left\n"
    (job,) = json.loads(dicomnode("jobs", "list", "--json", *options).stdout)
    assert job["state"] == "waiting"
    database.close()
