"""Starting and stopping, what is negotiated, and PostgreSQL as the database."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pipe
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, build_context
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicomnode.config import Settings
from dicomnode.errors import DicomnodeError, PortInUseError
from dicomnode.meters import Meters
from dicomnode.reloading import Apply
from dicomnode.scp import children
from dicomnode.scp.server import serve
from dicomnode.tracking.pulses import beats
from tests.databases import *  # noqa: F403
from tests.factories import make_series
from tests.hostile.raw_sender import associated, send
from tests.integration.scp.receiving import (
    UNUSABLE_TITLE,
    Node,
    data_set_bytes,
    refuse_a_title,
    running,
    shared_settings,
    wait_until,
)


class NeverReady:
    """A child that is started and says nothing; it is also its process."""

    def __init__(self) -> None:
        self.channel, self._theirs = Pipe()
        self.process = self

    def kill(self) -> None:
        self.channel.close()

    def join(self) -> None:
        self._theirs.close()


PRIVATE = ["1.2.840.113619.4.30", "1.3.46.670589.11.0.0.12.1", "1.2.826.0.1.3680043.2.93.9"]


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("serving")
    with running(shared_settings(folder), folder / "node") as started:
        yield started


def accepted(node: Node, proposals: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The (abstract syntax, transfer syntax) pairs that the node takes."""
    taken: list[tuple[str, str]] = []
    for start in range(0, len(proposals), 128):
        entity = AE("PEER")
        contexts = [build_context(*pair) for pair in proposals[start : start + 128]]
        scp = node.settings.scp
        association = entity.associate(scp.host, scp.port, contexts, ae_title=scp.ae_title)
        assert association.is_established
        taken += [
            (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in association.accepted_contexts
        ]
        association.release()
    return taken


def test_every_storage_class_is_accepted_known_private_or_unknown(shared_node: Node) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    assert len(classes) > 150
    proposals = [(each, ExplicitVRLittleEndian) for each in (*classes, *PRIVATE)]
    assert sorted(accepted(shared_node, proposals)) == sorted(proposals)


def test_every_transfer_syntax_is_accepted(shared_node: Node) -> None:
    private = "1.2.840.113619.5.2"
    proposals = [("1.2.840.10008.5.1.4.1.1.2", s) for s in (*ALL_TRANSFER_SYNTAXES, private)]
    assert sorted(accepted(shared_node, proposals)) == sorted(proposals)


def test_nothing_but_storage_and_echo_is_served(shared_node: Node) -> None:
    query = (str(StudyRootQueryRetrieveInformationModelFind), str(ExplicitVRLittleEndian))
    echo = (str(Verification), str(ExplicitVRLittleEndian))
    assert accepted(shared_node, [query, echo]) == [echo]


def test_the_maximum_pdu_is_announced(shared_node: Node) -> None:
    with associated(shared_node.settings.scp.port) as association:
        assert association.acceptor.maximum_length == 131_072


def test_a_busy_port_is_said_before_anything_is_touched(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings()
    with running(settings, tmp_path / "node"):
        other = make_settings(node={"data_folder": tmp_path / "other"})
        with pytest.raises(PortInUseError, match=f"port {settings.scp.port} on 127.0.0.1"):
            serve(other, ready=lambda: None, stop=threading.Event())
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_it_stops_when_asked_and_lets_the_sender_finish(
    make_settings: Callable[..., Settings], tmp_path: Path, processes: int
) -> None:
    images = make_series(tmp_path / "made", slices=8)
    with running(make_settings(scp={"processes": processes}), tmp_path / "node") as node:
        with associated(node.settings.scp.port) as association:
            answers = []
            for number, path in enumerate(images):
                if number == 2:
                    node.process.terminate()
                    time.sleep(0.3)
                uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
                answers.append(send(association, data_set_bytes(path), sop_instance_uid=uid))
        assert [answer.status for answer in answers] == [0x0000] * 8
        assert node.process.wait(30) == 0
        assert len(node.rows()) == 8


@pytest.mark.parametrize("processes", [1, 2])
def test_it_stops_within_the_time_of_its_unit_and_tells_whoever_is_idle(
    make_settings: Callable[..., Settings], tmp_path: Path, processes: int
) -> None:
    """`TimeoutStopSec=60`: what is open still is aborted before that, not killed."""
    with running(make_settings(scp={"processes": processes}), tmp_path / "node") as node:
        with associated(node.settings.scp.port) as association:
            node.process.terminate()
            wait_until(lambda: association.is_aborted, 40)
        assert node.process.wait(30) == 0


def test_the_database_may_be_postgresql(
    make_settings: Callable[..., Settings], tmp_path: Path, database_url: str
) -> None:
    settings = make_settings(database={"url": database_url}, scp={"processes": 2})
    images = make_series(tmp_path / "made", slices=6)
    with running(settings, tmp_path / "node") as node:
        for path in images:
            uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
            with associated(node.settings.scp.port) as association:
                assert send(association, data_set_bytes(path), sop_instance_uid=uid).status == 0
        wait_until(lambda: node.rows() == set(node.objects()))
        assert len(node.objects()) == 6


def test_children_that_die_are_no_start(make_settings: Callable[..., Settings]) -> None:
    ready = threading.Event()
    with pytest.raises(DicomnodeError, match="did not start"):
        serve(
            make_settings(scp={"processes": 2}),
            ready=ready.set,
            stop=threading.Event(),
            prepare_child=partial(os._exit, 7),
        )
    assert not ready.is_set()


def test_it_says_that_it_is_alive_again_and_again(make_settings: Callable[..., Settings]) -> None:
    said, stop = [], threading.Event()

    def alive() -> None:
        said.append(time.monotonic())
        if len(said) == 3:
            stop.set()

    serve(make_settings(scp={"processes": 2}), ready=lambda: None, stop=stop, alive=alive)
    assert len(said) == 3


def test_a_child_that_can_not_use_new_settings_goes_on_with_the_old_ones(
    make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """And what was reloaded is counted by the parent, which reads the file."""
    settings = make_settings(scp={"processes": 2})
    scp = settings.scp
    given = [
        settings.model_copy(update={"scp": scp.model_copy(update=update)})
        for update in (
            {"ae_title": UNUSABLE_TITLE},
            {"allowed_calling_ae_titles": ("SOMEBODY",)},
        )
    ]
    meters, ready, stop = Meters(), threading.Event(), threading.Event()

    def reload(apply: Apply) -> None:
        if given:
            apply(given.pop(0))
            meters.count("configuration_reloads_total", outcome="done")

    node = threading.Thread(
        target=serve,
        args=(settings,),
        kwargs={
            "ready": ready.set,
            "stop": stop,
            "prepare_child": refuse_a_title,
            "reload": reload,
            "meters": meters,
        },
    )

    def is_closed_to_us() -> bool:
        with associated(scp.port) as association:
            return not association.is_established

    def counted() -> set[str]:
        return {family.name for beat in beats(settings.pulses_folder) for family in beat.families}

    node.start()
    try:
        assert ready.wait(60)
        wait_until(is_closed_to_us, 60)
        wait_until(lambda: "configuration_reloads_total" in counted(), 60)
    finally:
        stop.set()
        node.join(60)
    assert "a receiving process died" not in caplog.text


def test_a_watchdog_waits_once_for_a_child_that_is_replaced(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never becomes ready is not waited for without end."""
    monkeypatch.setattr(children, "_START_SECONDS", 1.0)
    said: list[str] = []
    supervisor = children.Supervisor(make_settings(), [], lambda: None, set(), Meters())
    monkeypatch.setattr(supervisor, "_start", NeverReady)
    supervisor._start_again(lambda: said.append("alive"), threading.Event())
    assert len(said) > 1
    said.clear()
    supervisor._start_again(lambda: said.append("alive"), threading.Event())
    assert said == []


def test_a_receiver_without_its_indexer_ends(make_settings: Callable[..., Settings]) -> None:
    code = """
import sys, threading
from dicomnode.config import Settings
from dicomnode.meters import Meters
from dicomnode.reloading import Apply
from dicomnode.scp import children
from dicomnode.scp.server import serve
from dicomnode.tracking.pulses import beats
from dicomnode.tracking.indexer import Indexer
Indexer.start = lambda self: None
settings = Settings.model_validate_json(sys.argv[1])
serve(settings, ready=lambda: None, stop=threading.Event(), alive=lambda: print("alive"))
"""
    command = [sys.executable, "-c", code, make_settings().model_dump_json()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "a thread of the receiver died" in ended.stderr


def test_no_success_before_the_gate_can_know(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """The database fails: the sender is told to come again, and then all is well."""
    first, second = (
        make_series(tmp_path / name, slices=1, series=name)[0] for name in ("first", "second")
    )

    def sent(path: Path) -> int | None:
        uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        return send(association, data_set_bytes(path), sop_instance_uid=uid).status

    def rename(old: str, new: str) -> None:
        database = node.database
        with database.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))
        database.close()

    with running(make_settings(), tmp_path / "node") as node:
        with associated(node.settings.scp.port) as association:
            assert sent(first) == 0x0000
            wait_until(lambda: len(node.rows()) == 1)
            rename("association_series", "away")
            assert (sent(first), sent(second)) == (0x0000, 0xA700)
            rename("away", "association_series")
            assert sent(second) == 0x0000
        wait_until(lambda: len(node.rows()) == 2)


@pytest.mark.parametrize("role", ["scp.server", "web.server", "retrieval.backfill"])
def test_what_takes_in_objects_starts_quickly_and_without_torch(role: str) -> None:
    code = f"import sys, dicomnode.{role}; assert 'torch' not in sys.modules"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert time.monotonic() - began < 20
