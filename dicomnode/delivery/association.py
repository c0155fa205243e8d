"""Associations that this node asks for (PS3.8): opened, released, or why there is none."""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom import _config as pynetdicom_config
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_RELEASE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from dicomnode.config_tls import TLSClientSettings
from dicomnode.delivery.guard import Limits, guard
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnode.errors import (
    AssociationRejectedError,
    ConfigurationError,
    DeliveryError,
    DestinationAwayError,
    DialectRefusedError,
)
from dicomnode.tls import client_context

MAXIMUM_PDU_BYTES = 131_072
# The data set of a response: one match of a C-FIND, at most.
LONGEST_ANSWER_BYTES = 16_777_216
_LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class RemoteEntity:
    """The Application Entity that is called; `label` names it to people ("destination pacs")."""

    label: str
    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    timeout_seconds: float
    tls: TLSClientSettings | None = None

    def __str__(self) -> str:
        return f"{self.label} ({self.ae_title} at {self.host}:{self.port})"


@contextmanager
def associated(
    remote: RemoteEntity,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[evt.EventHandlerType] = (),
    wait_on: Callable[[], bool] = lambda: False,
    check: Callable[[], None] = lambda: None,
    object_bytes: int = LONGEST_ANSWER_BYTES,
) -> Iterator[Association]:
    """An established association, released at the end or aborted after an error.

    `check` is called before each message is waited for; what it raises ends the association.
    `wait_on` is asked each time that no message came for `timeout_seconds`: True waits as long
    again. A data set that is longer than `object_bytes` ends it, too. Raises `DeliveryError`.
    """
    # Identifiers name patients. (And those of answers are put into words for the log while a lock
    # is held, even where nobody logs: PS3.5 allows values that break that.)
    pynetdicom_config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom_config.LOG_RESPONSE_IDENTIFIERS = False
    # Why there is no connection is told by what is raised here, without the stack of pynetdicom.
    logging.getLogger("pynetdicom.transport").setLevel(logging.CRITICAL)
    entity = AE(ae_title=remote.calling_ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = remote.timeout_seconds
    entity.acse_timeout = remote.timeout_seconds
    entity.dimse_timeout = remote.timeout_seconds
    entity.network_timeout = remote.timeout_seconds
    limits = Limits(remote.timeout_seconds, object_bytes, may_wait=True)
    connected: list[bool] = []
    tls = _TLS(remote) if remote.tls is not None else None

    def on_open(event: evt.Event) -> None:
        connected.append(True)
        guard(event.assoc, limits)
        _send_without_delay(event)

    try:
        association = entity.associate(
            remote.host,
            remote.port,
            contexts=list(contexts),
            ae_title=remote.ae_title,
            max_pdu=MAXIMUM_PDU_BYTES,
            ext_neg=list(roles),
            tls_args=None if tls is None else (tls.context, tls.server_name),
            evt_handlers=[(evt.EVT_CONN_OPEN, on_open), *handlers],
        )
    except OSError as error:  # the name of the host can't be resolved
        raise DestinationAwayError(f"{remote} can't be reached: {error}") from None
    if not association.is_established:
        raise _why_not(remote, association, bool(connected), "" if tls is None else tls.why)
    keep_messages_for_the_requestor(association, wait_on, check)
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()


def keep_messages_for_the_requestor(
    association: Association,
    wait_on: Callable[[], bool] = lambda: False,
    check: Callable[[], None] = lambda: None,
) -> None:
    """What the peer sends goes to the thread that waits for it.

    pynetdicom 3.0.4 pauses its reactor thread while a request is out, but sets `_is_paused` before
    it waits; a reactor that is preempted there takes the answer, and the request times out (seen
    once in 4,000 objects on an idle machine, once in 200 on a loaded one). The reactor asks
    without blocking, the requestor blocks. The C-STORE requests of a C-GET are served by the
    requestor too, while it waits for the next C-GET response, so the reactor has nothing to do.
    tests/contract/test_pynetdicom_requestor.py checks this.
    """
    take = association.dimse.get_msg

    def get_msg(block: bool = False) -> Any:
        if not block:
            return None, None
        while True:
            check()
            context_id, message = take(True)
            if message is not None or not _is_open(association) or not wait_on():
                return context_id, message

    setattr(association.dimse, "get_msg", get_msg)  # noqa: B010


def give_messages_to_the_reactor(association: Association) -> None:
    """From now on the peer is expected to ask: its requests are served by the handlers."""
    association.dimse.__dict__.pop("get_msg", None)


@contextmanager
def responses_only(association: Association) -> Iterator[None]:
    """As the acceptor asks something of the requestor: what that one asks meanwhile waits.

    pynetdicom 3.0.4 would take a request for the response, and abort.
    """
    arrived = association.dimse.msg_queue
    requests: list[tuple[Any, Any]] = []
    deadline = time.monotonic() + (association.dimse_timeout or 0.0)

    def get_msg(block: bool = False) -> Any:
        while block and time.monotonic() < deadline and not _wants_to_end(association):
            try:
                context_id, message = arrived.get(timeout=_LOOK_AGAIN_SECONDS)
            except queue.Empty:
                continue
            if message is None or not message.is_valid_request:
                return context_id, message
            requests.append((context_id, message))
        return None, None

    setattr(association.dimse, "get_msg", get_msg)  # noqa: B010
    try:
        yield
    finally:
        give_messages_to_the_reactor(association)
        for request in requests:
            arrived.put(request)


def _wants_to_end(association: Association) -> bool:
    """A release waits for the reactor, which waits for us."""
    return not _is_open(association) or isinstance(association.dul.peek_next_pdu(), A_RELEASE)


def _is_open(association: Association) -> bool:
    """An abort and a lost connection wake the requestor as a time-out does."""
    return association.dul.is_alive() and not association.acse.is_aborted()


def _send_without_delay(event: evt.Event) -> None:
    """Nagle's algorithm and delayed acknowledgements together cost 48 ms per object."""
    wrapper = event.assoc.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        wrapper.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _TLS:
    """What pynetdicom is given for one association, and why its handshake failed (`why`).

    pynetdicom logs the error of a handshake and forgets it.
    """

    def __init__(self, remote: RemoteEntity) -> None:
        assert remote.tls is not None
        try:
            self.context = client_context(remote.tls, f"{remote.label}: tls")
        except ConfigurationError as error:
            raise DeliveryError(str(error)) from None
        self.server_name = remote.tls.server_name or remote.host
        self.why = ""
        outer = self

        class Handshake(ssl.SSLSocket):
            def do_handshake(self, block: bool = False) -> None:
                try:
                    super().do_handshake(block)
                except ssl.SSLCertVerificationError as error:
                    outer.why = f"its certificate is not trusted: {error.verify_message}"
                    raise
                except OSError as error:
                    outer.why = f"TLS failed: {getattr(error, 'reason', '') or 'no answer'}"
                    raise

        self.context.sslsocket_class = Handshake


def _why_not(
    remote: RemoteEntity, association: Association, connected: bool, no_tls: str
) -> DeliveryError:
    if no_tls:
        return DeliveryError(f"{remote} can't be trusted with an association: {no_tls}")
    if not connected:
        return DestinationAwayError(
            f"{remote} does not accept connections; is it running and reachable?"
        )
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return AssociationRejectedError(
            f"{remote} rejected the association: {answer.reason_str} "
            f"({answer.result_str}, {answer.source_str})",
            answer.result_source,
            answer.diagnostic,
        )
    if association.rejected_contexts:
        offered = {UID(str(item.abstract_syntax)).name for item in association.rejected_contexts}
        return DialectRefusedError(
            f"{remote} accepts no presentation context for {', '.join(sorted(offered))}; "
            f"it has to be configured to accept them from {remote.calling_ae_title}"
        )
    return DestinationAwayError(f"{remote} aborted the association or did not answer it in time")
