"""docs/conformance.md says what the code proposes, accepts and answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import dictionary_description
from pydicom.uid import UID
from pynetdicom import _config as pynetdicom_config
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import PresentationContext

from dicomnode.config import DestinationSettings, Settings, SourceSettings
from dicomnode.delivery import store
from dicomnode.delivery.proof import ask_commitment
from dicomnode.delivery.store import echo, send
from dicomnode.dicom import storage_commitment
from dicomnode.dicom.separation import SEPARATORS
from dicomnode.dicom.sop_classes import EXAMINED_SOP_CLASSES
from dicomnode.dicom.storage_commitment import Request
from dicomnode.dicom.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    result_uid,
)
from dicomnode.domain import RefusalCode
from dicomnode.errors import DeliveryError, DeliveryRefusedError, RetrievalError
from dicomnode.gate_scp import find, handlers
from dicomnode.gate_scp import server as gate_server
from dicomnode.intake.refusals import REFUSALS
from dicomnode.intake.running import running_intake
from dicomnode.retrieval import query, suboperations, wado
from dicomnode.retrieval.content import SeriesContent
from dicomnode.retrieval.deadline import Deadline
from dicomnode.retrieval.get import Getter
from dicomnode.retrieval.move import Mover
from dicomnode.retrieval.probe import probe
from dicomnode.retrieval.query import DicomCatalogue
from dicomnode.retrieval.storage_contexts import TRANSFER_SYNTAXES
from dicomnode.scp import announced, commitment, procedure
from dicomnode.scp.process import _entity
from dicomnode.scp.receiver import SUCCESS
from dicomnode.tracking import commitment_requests
from dicomnode.tracking.held import HeldState
from dicomnode.web.store_report import StoreStatus
from tests.small_node import write_seg

TEXT = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
STUDY = "1.2.3"
# A source that does not say which instances it has.
UNNAMED = SeriesContent("1.2.3.4", 1, {})
# (role, abstract syntax, transfer syntaxes)
Service = tuple[str, str, frozenset[str]]


def rows(*cells: str) -> list[tuple[str, ...]]:
    """The rows of tables whose first cells match; each cell is one pattern with a group."""
    pattern = r"^\| " + r" \| ".join(cells) + r" \|"
    return [match.groups() for match in re.finditer(pattern, TEXT, re.MULTILINE)]


def documented_services() -> set[Service]:
    found = rows("(SCP|SCU)", "([^|]+)", "([^|]+)", r"([\d.]+)", "([^|]+)")
    return {(role, uid, frozenset(syntaxes.split("; "))) for role, _, _, uid, syntaxes in found}


def services(role: str, contexts: Iterable[PresentationContext]) -> set[Service]:
    return {
        (
            role,
            str(context.abstract_syntax),
            frozenset(UID(syntax).name for syntax in context.transfer_syntax or ()),
        )
        for context in contexts
    }


def merged(found: Iterable[Service]) -> set[Service]:
    """Several presentation contexts of one SOP Class offer the syntaxes of all."""
    together: dict[tuple[str, str], frozenset[str]] = {}
    for role, uid, syntaxes in found:
        together[role, uid] = together.get((role, uid), frozenset()) | syntaxes
    return {(role, uid, syntaxes) for (role, uid), syntaxes in together.items()}


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> list[PresentationContext]:
    """Every context that is proposed from now on; no association comes about."""
    found: list[PresentationContext] = []

    def associate(_self: ApplicationEntity, *_: Any, contexts: Any, **__: Any) -> None:
        found.extend(contexts)
        raise OSError("nobody is there")

    monkeypatch.setattr(ApplicationEntity, "associate", associate)
    return found


def ask(question: Callable[[], object]) -> None:
    with suppress(DeliveryError, RetrievalError):
        question()


def test_what_is_accepted_and_proposed_is_documented_and_nothing_else(
    proposed: list[PresentationContext],
    make_settings: Callable[..., Settings],
    tmp_path: Path,
) -> None:
    settings = make_settings()
    destination = DestinationSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)
    move, get = (
        SourceSettings(name=how, retrieve=how, ae_title="PACS")  # type: ignore[arg-type]
        for how in ("move", "get")
    )
    seg = write_seg(tmp_path / "seg.dcm", result_uid("a"), result_uid("b"))
    ask(lambda: echo(destination))
    for syntax in destination.transfer_syntaxes:
        only = destination.model_copy(update={"transfer_syntaxes": (syntax,)})
        ask(lambda only=only: send(only, [seg], "NODE"))
    ask(lambda: ask_commitment(destination, "NODE", Request("1.2", ())))
    for source in (move, get):
        ask(lambda source=source: probe(source, settings))
        ask(
            lambda source=source: DicomCatalogue(source, settings).series_counts(
                STUDY, Deadline(60)
            )
        )
    ask(lambda: Mover(move, settings, lambda _study: 0).retrieve(STUDY, [], Deadline(60)))
    dimse = len(proposed)
    with running_intake(settings) as intake:
        ask(lambda: Getter(get, settings, intake).retrieve(STUDY, [UNNAMED], Deadline(60)))
    get_itself, *storage = proposed[dimse:]
    accepted = services("SCP", _entity(settings).supported_contexts)
    accepted |= services("SCP", gate_server.entity(settings).supported_contexts)
    asked = services("SCU", [*proposed[:dimse], get_itself])
    assert documented_services() == accepted | merged(asked)
    # Storage over the association of a C-GET, and by C-STORE, has no one SOP Class.
    ((by_get,),) = rows("SCP by role selection", "[^|]+", "[^|]+", "named", "([^|]+)")
    assert by_get.split("; ") == [syntax.name for syntax in TRANSFER_SYNTAXES]
    offered = {UID(syntax) for context in storage for syntax in context.transfer_syntax or ()}
    assert offered == set(TRANSFER_SYNTAXES)
    assert len(rows("SCP", "Storage", "(every [^|]+)", "any", "every [^|]+")) == 1
    assert pynetdicom_config.UNRESTRICTED_STORAGE_SERVICE


def test_every_sop_class_has_its_name() -> None:
    for _role, name, uid in rows("(SCP|SCU)", "[^|]+", "([^|]+)", r"([\d.]+)", "[^|]+"):
        assert UID(uid).name == name


def test_every_status_of_c_store_is_documented_and_no_other() -> None:
    documented = {int(status, 16) for (status,) in rows(r"(0x\w{4})")}
    assert documented == {SUCCESS, *(status for status, _ in REFUSALS.values())}


def gate_statuses(service: str) -> set[int]:
    found = rows(f"gate: {service}", "(0x[^|]+)")
    return {int(status, 16) for (statuses,) in found for status in statuses.split(", ")}


def test_every_status_of_the_gate_is_documented_and_no_other() -> None:
    assert gate_statuses("C-STORE") == {
        SUCCESS,
        *(status for status, _ in handlers.HELD.values()),
        handlers.ARCHIVE_AWAY[0],
        handlers.ARCHIVE_REFUSES[0],
    }
    assert gate_statuses("C-FIND") == {
        SUCCESS,
        handlers.PENDING,
        handlers.CANCELLED,
        handlers.TOO_MANY[0],
        handlers.BAD_QUESTION,
        handlers.NOT_ANSWERED[0],
    }
    assert set(handlers.HELD) == {HeldState.WAITING, HeldState.CHANGED}
    answers = (*handlers.HELD.values(), handlers.ARCHIVE_AWAY, handlers.ARCHIVE_REFUSES)
    assert all(len(comment) <= 64 for _, comment in (*answers, handlers.TOO_MANY))


def test_the_keys_of_each_level_of_the_gate_are_documented() -> None:
    for level, keys in find.LEVELS.items():
        ((matched,),) = rows(level, "([^|]+)")
        names = {dictionary_description(key).removesuffix(" Instance UID") for key in keys}
        assert all(name in matched for name in names), level


def test_every_status_of_a_procedure_step_is_documented_and_no_other() -> None:
    documented = {int(status, 16) for _, status in rows("(N-[^|]+)", r"(0x\w{4})")}
    assert documented == {
        procedure.SUCCESS,
        procedure.PROCESSING_FAILURE,
        procedure.DUPLICATE,
        procedure.NO_SUCH_INSTANCE,
        procedure.INVALID_INSTANCE,
        procedure.NO_SUCH_CLASS,
        announced.INVALID_VALUE,
        announced.MISSING_ATTRIBUTE,
        announced.MISSING_VALUE,
    }


def test_every_status_of_storage_commitment_is_documented_and_no_other() -> None:
    found = rows("commitment: [^|]+", r"(0x\w{4})")
    assert {int(status, 16) for (status,) in found} == {
        commitment.SUCCESS,
        commitment.PROCESSING_FAILURE,
        commitment.NO_SUCH_TRANSACTION,
        commitment.CLASS_INSTANCE_CONFLICT,
        commitment.NO_SUCH_ACTION,
        storage_commitment.INVALID_ARGUMENT,
        storage_commitment.TOO_MANY,
    }
    bounds = (storage_commitment.MOST_INSTANCES, storage_commitment.LONGEST_BYTES)
    assert "more than {:,} instances or {:,} bytes".format(*bounds) in TEXT
    assert f"{commitment_requests.MOST_OF_ONE_PEER} requests of that address" in TEXT
    assert f"{commitment_requests.MOST_IN_ALL:,} in all" in TEXT


def scu_statuses(service: str) -> dict[int, str]:
    """What follows each status that is named for the service; an x stands for any digit."""
    found: dict[int, str] = {}
    for names, follows in rows(service, "(0x[^|]+)", "([^|]+)"):
        for name in names.split(", "):
            digits = name.removeprefix("0x")
            free = 16 ** digits.count("x")
            first = int(digits.replace("x", "0"), 16)
            found |= dict.fromkeys(range(first, first + free), follows)
    return found


def outcome(status: int) -> str:
    try:
        return "delivered, and logged" if store.judge(status, "PACS", "1.2") else "delivered"
    except DeliveryRefusedError:
        return "refused for good"
    except DeliveryError:
        return "tried again"


def test_what_follows_each_status_of_a_delivery_is_documented() -> None:
    documented = scu_statuses("C-STORE")
    for status in range(0x10000):
        assert documented.get(status, "tried again").startswith(outcome(status)), hex(status)


def test_what_follows_each_status_of_a_source_is_documented() -> None:
    found, moved = scu_statuses("C-FIND"), scu_statuses("C-MOVE, C-GET")
    assert set(found) == {SUCCESS, *query._PENDING, *query._FAILURES}
    assert set(moved) == {SUCCESS, *suboperations._PENDING, *suboperations._MEANINGS}


def test_every_status_of_a_store_request_is_documented_and_no_other() -> None:
    documented = {int(status) for (status,) in rows(r"(\d{3})")}
    assert documented == set(StoreStatus)


def test_what_is_asked_of_a_dicomweb_source_is_documented() -> None:
    ((accept,),) = rows("user agent", r"Retrieve \(WADO-RS\)", "[^|]+", "`([^|]+)`")
    assert accept == wado._AS_STORED


def test_every_refusal_code_is_documented_and_no_other() -> None:
    section = TEXT.split("## What is refused", 1)[1].split("\n## ", 1)[0]
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE))
    assert documented == {code.value for code in RefusalCode}


def test_every_examined_sop_class_is_documented_and_no_other() -> None:
    section = TEXT.split("## Which series are examined", 1)[1].split("\n- ", 1)[0]
    documented = dict(re.findall(r"^\| ([\w ]+) \| ([\d.]+) \|$", section, re.MULTILINE))
    assert documented == {f"{UID(uid).name}": uid for uid in EXAMINED_SOP_CLASSES}


def test_what_tells_volumes_apart_is_documented_in_its_order() -> None:
    names = [dictionary_description(keyword) for keyword in SEPARATORS]
    assert f"nearly all of them apart: {', '.join(names)}, or one of" in TEXT


def test_the_implementation_is_the_same_everywhere() -> None:
    uid, name = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
    assert f"Implementation Class UID is {uid} and the Implementation Version Name {name}" in TEXT
    accepting = _entity(Settings())
    assert (accepting.implementation_class_uid, accepting.implementation_version_name) == (
        uid,
        name,
    )
    asked: list[tuple[str | None, str | None]] = []

    def note(event: evt.Event) -> None:
        peer = event.assoc.requestor
        asked.append((peer.implementation_class_uid, peer.implementation_version_name))

    entity = ApplicationEntity("PACS")
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_REQUESTED, note)]
    )
    assert server is not None
    echo(
        DestinationSettings(
            name="pacs", ae_title="PACS", host="127.0.0.1", port=server.server_address[1]
        )
    )
    server.shutdown()
    assert asked == [(uid, name)]
