"""How the node is, for programs that watch it: alive, ready, measured."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from dicomnode import __version__
from dicomnode.config import Settings
from dicomnode.errors import DatabaseError
from dicomnode.intake.intake import Intake
from dicomnode.meters import Family, Meter
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import beats
from dicomnode.tracking.spool import Spool
from dicomnode.web.counted import Counted
from dicomnode.web.metrics import MEDIA_TYPE, exposition, of_processes

# Anybody may ask; the disk and the database are asked once in this time.
_READY_AGAIN_SECONDS = 1.0


class Check(StrEnum):
    """What readiness depends on."""

    DATABASE = "database"
    SPOOL = "spool"
    DISK = "disk"
    WORKER = "worker"


# An object would be taken in without a worker, which comes to it later.
_TO_TAKE_IN = (Check.DATABASE, Check.SPOOL, Check.DISK)


class Readiness:
    """What keeps the node from its work now, as sentences that name no path, host or person."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._spool = Spool(settings.spool_folder)
        self._found: Mapping[Check, str] = {}
        self._ask_again_at = 0.0

    def problems(self) -> Mapping[Check, str]:
        """A sentence for each check; "ok" where nothing is wrong."""
        if time.monotonic() >= self._ask_again_at:
            self._found = {
                Check.DATABASE: self._database_problem() or "ok",
                Check.SPOOL: "ok" if self._spool.can_write() else "it can't be written to",
                Check.DISK: self._disk_problem() or "ok",
                Check.WORKER: self._worker_problem() or "ok",
            }
            self._ask_again_at = time.monotonic() + _READY_AGAIN_SECONDS
        return self._found

    def _database_problem(self) -> str:
        try:
            is_current = self._database.check().is_current
        except DatabaseError:
            return "it does not answer"
        return "" if is_current else "its tables are of another version: dicomnode db migrate"

    def _disk_problem(self) -> str:
        try:
            free = self._spool.free_bytes()
        except OSError:
            return "it is not there"
        is_full = free < self._settings.scp.minimum_free_bytes
        return "less is free than scp.minimum_free_bytes" if is_full else ""

    def _worker_problem(self) -> str:
        workers = [beat for beat in beats(self._settings.pulses_folder) if beat.role == "work"]
        if any(beat.is_alive for beat in workers):
            return ""
        return "none has been heard of" if workers else "none runs"


class Monitor:
    """The paths that programs ask: `/health`, `/healthz`, `/readyz`, `/metrics`."""

    def __init__(
        self, settings: Settings, intake: Intake, database: Database, counted: Counted
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._counted = counted
        self._readiness = Readiness(settings, database)
        self._asking = asyncio.Lock()  # a database that hangs costs one thread, not all of them

    async def alive(self, _request: Request) -> Response:
        """200 as long as this process answers and its threads are at work: else start it again."""
        well = self._intake.is_alive()
        return JSONResponse({"status": "ok" if well else "failed"}, 200 if well else 503)

    async def ready(self, _request: Request) -> Response:
        """200 where the node can do its work now, else 503; either with a reason for each check."""
        found = await self._problems()
        well = all(sentence == "ok" for sentence in found.values())
        body = {"status": "ok" if well else "unavailable", "checks": found}
        return JSONResponse(body, 200 if well else 503)

    async def health(self, _request: Request) -> Response:
        """200 where an object would be taken in now, else 503."""
        found = await self._problems()
        well = self._intake.is_alive() and all(found[check] == "ok" for check in _TO_TAKE_IN)
        status = "ok" if well else "unavailable"
        return JSONResponse({"status": status, "version": __version__}, 200 if well else 503)

    async def metrics(self, _request: Request) -> Response:
        try:
            found = await run_in_threadpool(self._counted.families)
        except DatabaseError:
            return PlainTextResponse("the database is away\n", 503)
        here = await run_in_threadpool(self.here)
        return PlainTextResponse(exposition((*found, *here)), media_type=MEDIA_TYPE)

    def here(self) -> tuple[Family, ...]:
        """What is seen without the database."""
        build = Meter("gauge", "1, with the version of the software.", ("version",))
        return (
            Family("build_info", build, {(__version__,): 1.0}),
            *_disk(self._settings),
            *of_processes(beats(self._settings.pulses_folder)),
        )

    async def _problems(self) -> Mapping[Check, str]:
        async with self._asking:
            return await run_in_threadpool(self._readiness.problems)


def _disk(settings: Settings) -> Iterator[Family]:
    """Of the file system that holds the spool; nothing where it is not there."""
    try:
        state = os.statvfs(settings.spool_folder)
    except OSError:
        return
    for name, help_, value in (
        ("disk_total_bytes", "Size of the file system of the spool.", state.f_blocks),
        ("disk_free_bytes", "Free there, for the account of the node.", state.f_bavail),
    ):
        yield Family(name, Meter("gauge", help_), {(): float(value * state.f_frsize)})
    mark = Meter("gauge", "Below it nothing more is taken in (scp.minimum_free_bytes).")
    yield Family("disk_minimum_free_bytes", mark, {(): float(settings.scp.minimum_free_bytes)})
    first = Meter("gauge", "Used share above which what is done with makes room (retention).")
    yield Family("disk_retention_ratio", first, {(): settings.retention.used_percent / 100})
    inodes = Meter("gauge", "Files that can still be made there.")
    yield Family("disk_free_inodes", inodes, {(): float(state.f_favail)})
