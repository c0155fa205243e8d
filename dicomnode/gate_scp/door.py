"""What becomes of an object that somebody wants to send out through the gate.

It passes where the node received and examined exactly these bytes and the gate releases their
study now. It is sent to the archive at once, while its sender waits: success means that the
archive has it, and nothing is lost when a process dies. Whatever may not pass is kept here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from dicomnode.config import DestinationSettings
from dicomnode.config_gate_ae import GateTitleSettings
from dicomnode.delivery.as_stored import Archive
from dicomnode.domain import GateDecision, GateOutcome, InstanceHeader
from dicomnode.errors import DatabaseError, ModelError, ReceiptError
from dicomnode.gate.files import is_as_received
from dicomnode.gate.release import Exit, Release
from dicomnode.intake.received import ReceivedObject
from dicomnode.meters import Meters
from dicomnode.tracking.database import Database
from dicomnode.tracking.held import HeldState
from dicomnode.tracking.instances import known_files
from dicomnode.tracking.spool import Spool

LOGGER = logging.getLogger("dicomnode.gate")

# The account of the ledger where a DICOM sender, not a person, lets something out.
ACCOUNT_PREFIX = "ae:"
_UNKNOWN = "no object of its SOP Instance UID was received by the node, so nobody examined it"
_CHANGED = (
    "it is not, byte for byte, the object that was received and examined: it was de-identified, "
    "edited or encoded anew since; send the node what shall leave"
)
# Studies of which one association may send objects in turns.
_MOST_STUDIES = 8


class HeldError(Exception):
    """An object that may not pass: its state, and the sentence that says why."""

    def __init__(self, state: HeldState, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


@dataclass(frozen=True)
class Ways:
    """What every passage needs; `exits` makes an exit for a project, an archive and an account."""

    database: Database
    spool: Spool
    titles: Mapping[str, GateTitleSettings]
    archives: Mapping[str, DestinationSettings]
    exits: Callable[[str, str, str], Exit]
    calling_ae_title: str
    meters: Meters = field(default_factory=Meters)


class Passage:
    """The way out for the objects of one sender, for one project, to its archive."""

    def __init__(
        self,
        ways: Ways,
        title: GateTitleSettings,
        calling_ae_title: str,
        encodings: Collection[tuple[str, str]],
    ) -> None:
        self._ways = ways
        self.project = title.project
        account = f"{ACCOUNT_PREFIX}{calling_ae_title}"
        self._exit = ways.exits(title.project, title.archive, account)
        archive = ways.archives[title.archive]
        self._archive = Archive(archive, ways.calling_ae_title, encodings)
        self._releases: dict[str, Release] = {}
        self._passed: set[str] = set()

    def let_pass(self, header: InstanceHeader, received: ReceivedObject) -> None:
        """Returns when the archive has the object, and the ledger says so.

        Raises `HeldError`; `DeliveryError` where the archive does not take it; `DatabaseError`.
        """
        self._require_as_examined(header, received)
        try:
            release = self._release(header.study_instance_uid)
        except (ReceiptError, ModelError) as error:
            raise HeldError(HeldState.WAITING, str(error)) from None
        if header.sop_instance_uid not in release.named:
            raise HeldError(HeldState.WAITING, _UNKNOWN)
        self._archive.send(header.sop_instance_uid, received.file_meta, bytes(received.data_set))
        self._exit.record(release, header.sop_instance_uid)
        self._passed.add(header.study_instance_uid)
        LOGGER.info(
            "forwarded", extra={"instance": header.sop_instance_uid, "receipt": release.number}
        )

    def decide(self, study_instance_uid: str) -> GateDecision:
        return self._exit.decide(study_instance_uid)

    def close(self) -> None:
        """The ledger says what has left; the association to the archive ends."""
        self._archive.close()
        for study in list(self._releases):
            self._end(study)

    def _require_as_examined(self, header: InstanceHeader, received: ReceivedObject) -> None:
        with self._ways.database.read() as connection:
            known = known_files(connection, [header.sop_instance_uid]).get(header.sop_instance_uid)
        if known is None:
            raise HeldError(HeldState.WAITING, _UNKNOWN)
        encoding = (header.sop_class_uid, received.transfer_syntax_uid)
        if not is_as_received(bytes(received.data_set), encoding, known, self._ways.spool):
            raise HeldError(HeldState.CHANGED, _CHANGED)

    def _release(self, study: str) -> Release:
        """One that stands now, on record before anything leaves under it."""
        standing = self._releases.get(study)
        if standing is not None and self._exit.still_stands(standing):
            return standing
        if standing is not None:
            self._end(study)
        decision = self._exit.decide(study)
        outcome = decision.outcome.value
        self._ways.meters.count("gate_decisions_total", door="dicom", outcome=outcome)
        if decision.outcome is not GateOutcome.RELEASE:
            raise HeldError(HeldState.WAITING, "\n".join(decision.reasons))
        if len(self._releases) >= _MOST_STUDIES:
            self._end(next(iter(self._releases)))
        release = self._exit.begin(study, again=True)
        if not isinstance(release, Release):
            raise HeldError(HeldState.WAITING, "\n".join(release.reasons))
        self._releases[study] = release
        return release

    def _end(self, study: str) -> None:
        release = self._releases.pop(study)
        try:
            if study in self._passed:
                self._exit.finish(release)
            else:
                self._exit.stop(release, "nothing of it has left")
        except DatabaseError as error:  # it stays "leaving"; the next start of the gate ends it
            LOGGER.error("the ledger could not be written", extra={"error": str(error)})
        self._passed.discard(study)
