"""Associations with a source, its failures in the words of a retrieval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from dicomnode.config import Settings, SourceSettings
from dicomnode.delivery.association import LONGEST_ANSWER_BYTES, RemoteEntity, associated
from dicomnode.errors import DeliveryError, RetrievalError, SourceUnavailableError


def remote_of(source: SourceSettings, settings: Settings) -> RemoteEntity:
    return RemoteEntity(
        f"source {source.name}",
        source.ae_title or "",
        source.host,
        source.port,
        source.calling_ae_title or settings.scp.ae_title,
        source.timeout_seconds,
    )


@contextmanager
def associated_with(
    remote: RemoteEntity,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[evt.EventHandlerType] = (),
    wait_on: Callable[[], bool] = lambda: False,
    check: Callable[[], None] = lambda: None,
    object_bytes: int = LONGEST_ANSWER_BYTES,
) -> Iterator[Association]:
    """Raises `SourceUnavailableError` where no association comes about."""
    try:
        with associated(
            remote,
            contexts,
            roles=roles,
            handlers=handlers,
            wait_on=wait_on,
            check=check,
            object_bytes=object_bytes,
        ) as association:
            yield association
    except DeliveryError as error:
        raise SourceUnavailableError(str(error)) from None
    except RuntimeError as error:
        # pynetdicom's word for an association that ended before the request was sent.
        raise RetrievalError(f"{remote} ended the association before its time: {error}") from None


def status_of(response: Dataset, remote: RemoteEntity, operation: str) -> int:
    """The status of a DIMSE response; raises `RetrievalError` where none came."""
    if "Status" not in response:
        raise RetrievalError(f"{remote} aborted or did not answer a {operation} in time")
    return int(response.Status)
