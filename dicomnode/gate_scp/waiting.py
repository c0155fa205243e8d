"""What waits at the gate: kept durably, looked at again and again, forwarded when it may leave.

gate-waiting/objects/ab/<sha256>.dcm   SHA-256 of the project and of the data set
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

from dicomnode.config_gate_ae import GateTitleSettings
from dicomnode.domain import GateOutcome, InstanceHeader
from dicomnode.errors import (
    DatabaseError,
    DeliveryError,
    DeliveryRefusedError,
    DicomnodeError,
    UnreadableObjectError,
)
from dicomnode.gate_scp.door import HeldError, Passage, Ways
from dicomnode.intake.intake import checked
from dicomnode.intake.received import Peer, ReceivedObject, received_from_file
from dicomnode.intake.refusals import RefusedObjectError
from dicomnode.tracking import held
from dicomnode.tracking.held import HeldFile, HeldObject, HeldState
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.gate")

_PAGE = 200
_ORPHAN_AFTER_SECONDS = 3600.0


class WaitingRoom:
    """The files, and the rows that say what they are; called from any number of threads."""

    def __init__(self, ways: Ways, spool: Spool) -> None:
        self._ways = ways
        self._spool = spool

    def use(self, ways: Ways) -> None:
        """Let out by these ways from now on."""
        self._ways = ways

    def keep(
        self, project: str, header: InstanceHeader, received: ReceivedObject, held_by: HeldError
    ) -> None:
        """Durable, and on record, when it returns. Raises `SpoolError` and `DatabaseError`."""
        key = f"{project} {hashlib.sha256(received.data_set).hexdigest()}"
        kept = self._spool.store(key, received.file_meta, received.data_set)
        file = HeldFile(
            project=project,
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=received.transfer_syntax_uid,
            name=kept.name,
            file_sha256=kept.file_sha256,
            size_bytes=kept.size_bytes,
            calling_ae_title=received.peer.calling_ae_title,
            peer_address=received.peer.address,
        )
        with self._ways.database.begin() as connection:
            held.hold(connection, file, held_by.state, held_by.reason)

    def look(self, stop: threading.Event) -> None:
        """Once through all that waits: forward what may leave now.

        What is for an archive that is away is left for the next look, and so is a study that
        can't be looked at for a reason of its own. Raises `DatabaseError`.
        """
        by_project = {title.project: title for title in self._ways.titles.values()}
        away: set[str] = set()
        for study, project in self._studies():
            if stop.is_set():
                return
            title = by_project.get(project)
            if title is None:
                self._hold_all(study, project, "no AE title of gate_ae.titles is for its project")
            elif title.archive not in away:
                try:
                    self._look_at_study(study, title)
                except DeliveryError as error:
                    LOGGER.warning("an archive is away: %s", error)
                    away.add(title.archive)
                except DatabaseError:
                    raise
                except Exception:
                    LOGGER.exception(
                        "a study that waits can't be looked at", extra={"study": study}
                    )

    def sweep(self) -> None:
        """Remove files that nothing waits for: settled, or never confirmed to their sender."""
        self._spool.remove_abandoned()
        for names in self._spool.names():
            for start in range(0, len(names), _PAGE):
                self._sweep(names[start : start + _PAGE])

    def _sweep(self, names: list[str]) -> None:
        oldest = time.time() - _ORPHAN_AFTER_SECONDS
        with self._ways.database.read() as connection:
            used = held.names_open(connection, names)
        for name in set(names) - used:
            path = self._spool.path(name)
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _studies(self) -> Iterator[tuple[str, str]]:
        after = ("", "")
        while True:
            with self._ways.database.read() as connection:
                page = held.studies_waiting(connection, _PAGE, after)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]

    def _look_at_study(self, study: str, title: GateTitleSettings) -> None:
        decision = self._ways.exits(title.project, title.archive, "").decide(study)
        if decision.outcome is not GateOutcome.RELEASE:
            self._hold_all(study, title.project, "\n".join(decision.reasons))
            return
        last = 0
        while page := self._page(study, title.project, last):
            last = page[-1].id
            with ExitStack() as open_passages:
                passages = {
                    caller: open_passages.enter_context(closing(self._passage(title, caller, page)))
                    for caller in {one.file.calling_ae_title for one in page}
                }
                for one in page:
                    self._look_at(one, passages[one.file.calling_ae_title])

    def _passage(self, title: GateTitleSettings, caller: str, page: list[HeldObject]) -> Passage:
        encodings = {(one.file.sop_class_uid, one.file.transfer_syntax_uid) for one in page}
        return Passage(self._ways, title, caller, encodings)

    def _look_at(self, one: HeldObject, passage: Passage) -> None:
        try:
            header, received = self._read(one)
            passage.let_pass(header, received)
        except HeldError as again:
            state, reason = again.state, again.reason
        except DeliveryRefusedError as refused:
            state, reason = HeldState.WAITING, str(refused)
        else:
            with self._ways.database.begin() as connection:
                held.forwarded(connection, one)
            self._spool.path(one.file.name).unlink(missing_ok=True)
            return
        with self._ways.database.begin() as connection:
            held.look_again(connection, one.id, state, reason)

    def _read(self, one: HeldObject) -> tuple[InstanceHeader, ReceivedObject]:
        """Only a file that is gone, or is another one now, can't be read later either."""
        peer = Peer("", one.file.calling_ae_title, "", one.file.peer_address)
        try:
            data = self._spool.path(one.file.name).read_bytes()
        except FileNotFoundError:
            raise HeldError(HeldState.CHANGED, "its file is gone") from None
        except OSError as error:
            reason = f"its file can't be read now: {type(error).__name__}"
            raise HeldError(HeldState.WAITING, reason) from None
        if hashlib.sha256(data).hexdigest() != one.file.file_sha256:
            raise HeldError(HeldState.CHANGED, "its file is damaged: it has another SHA-256")
        try:
            received = received_from_file(peer, data)
            return checked(received, "accept").header, received
        except (UnreadableObjectError, RefusedObjectError) as error:
            reason = f"its file can't be read: {type(error).__name__}"
            raise HeldError(HeldState.WAITING, reason) from None

    def _page(self, study: str, project: str, after: int) -> list[HeldObject]:
        with self._ways.database.read() as connection:
            return held.waiting_of(connection, study, project, after, _PAGE)

    def _hold_all(self, study: str, project: str, reason: str) -> None:
        with self._ways.database.begin() as connection:
            held.hold_study(connection, study, project, reason)


def keep_looking(room: WaitingRoom, seconds: float, stop: threading.Event) -> None:
    """The main function of a thread: a look, a pause, until `stop` is set."""
    while not stop.wait(seconds):
        try:
            room.look(stop)
        except DicomnodeError as error:
            LOGGER.error("what waits at the gate can't be looked at", extra={"error": str(error)})
        except Exception:
            LOGGER.exception("what waits at the gate can't be looked at")
