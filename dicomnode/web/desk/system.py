"""The system: disk, device, networks, peers, the database and what waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from dicomnode.config import Settings
from dicomnode.errors import ModelError
from dicomnode.inference.models import Model
from dicomnode.tracking.peers import Away, LastDelivery, away, last_deliveries
from dicomnode.tracking.totals import Total
from dicomnode.web.desk import machine
from dicomnode.web.desk.access import SystemReader
from dicomnode.web.desk.desk import Desk, DeskOf
from dicomnode.web.desk.facts import Fact
from dicomnode.web.desk.machine import Disk

ROUTER = APIRouter()


@dataclass(frozen=True)
class CountRow:
    help: str
    value: str
    count: int


@dataclass(frozen=True)
class Peer:
    name: str
    purpose: str
    address: str
    last: LastDelivery | None = None
    away: Away | None = None


@dataclass(frozen=True)
class SystemPage:
    problems: Sequence[str]
    disk: Disk
    facts: Sequence[Fact]
    counts: Sequence[CountRow]
    peers: Sequence[Peer]
    models: Sequence[Model]


@ROUTER.get("/system")
def system(request: Request, desk: DeskOf, principal: SystemReader) -> Response:
    settings = desk.settings
    disk = machine.disk(settings.node.data_folder, settings.scp.minimum_free_bytes)
    models, problem = _models(desk)
    with desk.database.read() as connection:
        last = {each.destination: each for each in last_deliveries(connection)}
        absent = {each.destination: each for each in away(connection)}
    page = SystemPage(
        problems=tuple(
            filter(None, (_full(disk, settings), problem, *map(_away, absent.values())))
        ),
        disk=disk,
        facts=tuple(_facts(desk)),
        counts=tuple(_rows(desk.totals())),
        peers=tuple(_peers(settings, last, absent)),
        models=models,
    )
    return desk.page(request, principal, "system.html", page)


def _models(desk: Desk) -> tuple[Sequence[Model], str]:
    try:
        return desk.examiner.now().models, ""
    except ModelError as error:
        return (), f"Nothing can be examined: {error}"


def _full(disk: Disk, settings: Settings) -> str:
    if disk.is_full:
        return "The disk is full: nothing more is taken in."
    if disk.used_percent > (limit := settings.retention.used_percent):
        return f"The disk fills: {disk.used_percent:.0f} percent are used, the limit is {limit:g}."
    return ""


def _away(peer: Away) -> str:
    return f"{peer.destination} is away, and {peer.waiting} deliveries wait: {peer.last_error}"


def _facts(desk: Desk) -> Iterator[Fact]:
    settings, state = desk.settings, desk.database.check()
    kind = "SQLite" if desk.database.is_sqlite else "PostgreSQL"
    newer = "" if state.is_current else f"this software needs {state.needed}"
    yield Fact("Database", f"{kind}, schema {state.current}", newer)
    gpus = machine.gpus()
    yield Fact("GPUs of this machine", ", ".join(gpus) or "the NVIDIA driver names none")
    yield Fact("Networks run on", settings.inference.device, "inference.device")
    yield Fact("Receives as", f"{settings.scp.ae_title} at {settings.scp.host}:{settings.scp.port}")
    detector = settings.evidence.face_detector
    yield Fact("Face detector", detector, "evidence.face_detector")
    signs = "with a key" if settings.gate.key_file else "with no key: no receipts"
    yield Fact("Signs", signs, "gate.key_file")


def _rows(totals: Sequence[Total]) -> Iterator[CountRow]:
    for total in totals:
        for value, count in sorted(total.counts.items()):
            yield CountRow(total.help, value.replace("_", " "), count)


def _peers(
    settings: Settings, last: dict[str, LastDelivery], absent: dict[str, Away]
) -> Iterator[Peer]:
    for each in settings.destinations:
        address = f"{each.ae_title} at {each.host}:{each.port}"
        name = each.name
        yield Peer(name, "gets masks", address, last.get(name), absent.get(name))
    for archive in settings.archives:
        address = f"{archive.ae_title} at {archive.host}:{archive.port}"
        yield Peer(archive.name, "gets what is released", address)
    for source in settings.sources:
        address = source.url or f"{source.ae_title} at {source.host}:{source.port}"
        yield Peer(source.name, f"is asked for studies ({source.retrieve})", address)
