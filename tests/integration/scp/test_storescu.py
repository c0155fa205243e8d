"""Receiving from dcmtk: what was sent is what is stored, byte for byte."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from dicomnode.config import Settings
from dicomnode.tracking import findings
from dicomnode.tracking.schema import associations
from tests.factories import make_series
from tests.integration.scp.receiving import (
    ECHOSCU,
    Node,
    data_set_bytes,
    dcmtk,
    dcmtk_environment,
    needs_dcmtk,
    running,
    shared_settings,
    storescu,
    storescu_command,
    wait_until,
)

pytestmark = [pytest.mark.peer, needs_dcmtk]

# How dcmtk encodes each syntax, and the option with which storescu proposes it.
SYNTAXES = {
    "1.2.840.10008.1.2": ("dcmconv", ("+ti",), "-xi"),
    "1.2.840.10008.1.2.1": ("dcmconv", ("+te",), "-xe"),
    "1.2.840.10008.1.2.2": ("dcmconv", ("+tb",), "-xb"),
    "1.2.840.10008.1.2.1.99": ("dcmconv", ("+td",), "-xd"),
    "1.2.840.10008.1.2.5": ("dcmcrle", (), "-xr"),
    "1.2.840.10008.1.2.4.70": ("dcmcjpeg", (), "-xs"),
    "1.2.840.10008.1.2.4.80": ("dcmcjpls", (), "-xt"),
}


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("receiving")
    with running(shared_settings(folder), folder / "node") as started:
        yield started


@pytest.fixture
def node(shared_node: Node) -> Node:
    return shared_node.mark()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Every test sends series of its own."""
    return str(request.node.name)


def test_echoscu_is_answered(node: Node) -> None:
    command = [ECHOSCU, "-v", "-aec", node.settings.scp.ae_title, *node.address]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "Received Echo Response (Success)" in answer.stdout + answer.stderr


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_is_stored_as_it_was_sent(
    node: Node, tmp_path: Path, name: str, syntax: str
) -> None:
    program, options, proposal = SYNTAXES[syntax]
    sent = []
    for path in make_series(tmp_path / "made", slices=3, series=name):
        made = path.with_suffix(".sent")
        command = [dcmtk(program), *options, str(path), str(made)]
        subprocess.run(command, check=True, timeout=30, capture_output=True)
        sent.append(made)
    assert dcmread(sent[0], stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    result = storescu(node, *sent, options=(proposal,))
    assert result.returncode == 0, result.stderr
    stored = {
        dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in node.objects()
    }
    assert len(stored) == 3
    for path in sent:
        original = dcmread(path, stop_before_pixels=True)
        kept = stored[original.SOPInstanceUID]
        # storescu encodes the group anew, but the data set of an object read in one syntax and
        # sent in the same one is its own bytes; deflated ones are compressed again.
        assert dcmread(kept).file_meta.TransferSyntaxUID == syntax
        if syntax == "1.2.840.10008.1.2.1.99":
            assert dcmread(kept) == dcmread(path)
        else:
            assert data_set_bytes(kept) == data_set_bytes(path)
    wait_until(lambda: len(node.rows()) == 3)


def test_the_file_says_who_sent_it(node: Node, tmp_path: Path, name: str) -> None:
    (path,) = make_series(tmp_path / "made", slices=1, series=name)
    storescu(node, path, options=("-aet", "CT_SCANNER"))
    meta = dcmread(node.objects()[0], stop_before_pixels=True).file_meta
    assert meta.SourceApplicationEntityTitle == "CT_SCANNER"
    assert meta.SendingApplicationEntityTitle == "CT_SCANNER"
    assert meta.ReceivingApplicationEntityTitle == node.settings.scp.ae_title
    assert meta.SourcePresentationAddress == "dicom://127.0.0.1"


def test_four_associations_at_once_lose_nothing(node: Node, tmp_path: Path, name: str) -> None:
    folders = [tmp_path / f"made{number}" for number in range(4)]
    series = [
        make_series(folder, slices=20, series=f"{name}{n}") for n, folder in enumerate(folders)
    ]
    senders = [
        subprocess.Popen(
            storescu_command(node, *paths),
            env=dcmtk_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for paths in series
    ]
    assert [sender.wait(60) for sender in senders] == [0, 0, 0, 0]
    sent = {data_set_bytes(path) for paths in series for path in paths}
    assert {data_set_bytes(path) for path in node.objects()} == sent
    assert len(sent) == 80
    wait_until(lambda: len(node.rows()) == 80)


def test_without_reading_directly_the_same_is_stored(tmp_path: Path) -> None:
    files = make_series(tmp_path / "made", slices=2)
    settings = shared_settings(tmp_path, read_directly=False)
    with running(settings, tmp_path / "node") as node:
        assert storescu(node, *files).returncode == 0
        assert {data_set_bytes(path) for path in node.objects()} == {
            data_set_bytes(path) for path in files
        }


def test_sending_again_is_success_and_nothing_else(node: Node, tmp_path: Path, name: str) -> None:
    paths = make_series(tmp_path / "made", slices=4, study=name, series=name)
    assert storescu(node, *paths).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in node.objects()}
    again = storescu(node, *paths)
    assert again.returncode == 0
    assert len(re.findall(r"Received Store Response \(Success\)", again.stderr + again.stdout)) == 4
    assert {path: path.stat().st_mtime_ns for path in node.objects()} == before
    assert node.quarantined() == []


def test_an_association_is_open_and_then_closed_in_the_database(
    node: Node, tmp_path: Path, name: str
) -> None:
    paths = make_series(tmp_path / "made", slices=4, study=name, series=name)
    storescu(node, *paths, options=("-aet", "ONE"))
    database = node.database

    def outcomes() -> list[str]:
        query = sa.select(associations.c.outcome)
        with database.read() as connection:
            return list(connection.scalars(query.where(associations.c.calling_ae_title == "ONE")))

    wait_until(lambda: outcomes() == ["released"])
    study = str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    with database.read() as connection:
        (found,) = findings.verdicts_of_study(connection, study)
    assert (found.instance_count, found.state, found.modality) == (4, "receiving", "MR")
    database.close()


@pytest.mark.parametrize(
    ("scp", "options", "reason"),
    [
        ({"allowed_calling_ae_titles": ["PACS"]}, ("-aet", "OTHER"), "Calling AE Title"),
        ({"allowed_networks": ["192.0.2.0/24"]}, (), "No Reason"),
        ({"ae_title": "NODE"}, ("-aec", "WRONG"), "Called AE Title"),
    ],
)
def test_an_unknown_peer_is_rejected_with_the_reason(
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    scp: dict[str, object],
    options: tuple[str, ...],
    reason: str,
) -> None:
    with running(make_settings(scp=scp), tmp_path / "node") as node:
        (path,) = make_series(tmp_path / "made", slices=1)
        result = storescu(node, path, options=options)
        assert result.returncode != 0
        assert reason in result.stderr + result.stdout
        assert node.objects() == []
        assert "association rejected" in node.log.read_text()


def test_a_full_allow_list_lets_its_peers_in(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    scp = {"allowed_calling_ae_titles": ["PACS"], "allowed_networks": ["127.0.0.0/8"]}
    with running(make_settings(scp=scp), tmp_path / "node") as node:
        (path,) = make_series(tmp_path / "made", slices=1)
        assert storescu(node, path, options=("-aet", "PACS")).returncode == 0
        assert len(node.objects()) == 1
