"""Reports on Storage Commitment to those who asked the receiver and have hung up since."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from dicomnode.config import DestinationSettings, Settings, SourceSettings
from dicomnode.delivery.association import RemoteEntity
from dicomnode.delivery.proof import report_commitment
from dicomnode.errors import DeliveryError
from dicomnode.intake.kept import report_on
from dicomnode.tracking import commitment_requests
from dicomnode.tracking.commitment_requests import CommitmentRequest
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool

log = logging.getLogger("dicomnode.jobs")

_AT_ONCE = 20


@dataclass
class CommitmentReports:
    """`settings` may change."""

    settings: Settings
    database: Database
    spool: Spool

    def send_due(self) -> None:
        now = datetime.now(UTC)
        with self.database.read() as connection:
            waiting = commitment_requests.due(connection, now, _AT_ONCE)
        for asked in waiting:
            with self.database.begin() as connection:
                is_ours = commitment_requests.claim(connection, asked, datetime.now(UTC))
            if is_ours:
                self._send(asked)

    def _send(self, asked: CommitmentRequest) -> None:
        report = report_on(asked, self.database, self.spool)
        try:
            report_commitment(self._remote(asked), report)
        except DeliveryError as error:
            log.warning("a report on Storage Commitment was not taken: %s", error)
            return
        with self.database.begin() as connection:
            commitment_requests.done(connection, asked)

    def _remote(self, asked: CommitmentRequest) -> RemoteEntity:
        """Where the configuration has the AE title; else where it called from, at the port for
        senders."""
        title, calling = asked.calling_ae_title, self.settings.scp.ae_title
        seconds = self.settings.scp.dimse_timeout_seconds
        configured: tuple[DestinationSettings | SourceSettings, ...] = (
            *self.settings.destinations,
            *self.settings.sources,
        )
        for peer in configured:
            if peer.ae_title == title:
                where = (peer.host, peer.port, calling, seconds, peer.tls)
                return RemoteEntity("the sender", title, *where)
        port = self.settings.delivery.return_port
        return RemoteEntity("the sender", title, asked.peer_address, port, calling, seconds)
