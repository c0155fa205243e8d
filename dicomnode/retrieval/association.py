"""Associations with a source, its failures in the words of a retrieval."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import cast

from pydicom.dataset import Dataset

from dicomnode.config import Settings, SourceSettings
from dicomnode.delivery.association import RemoteEntity
from dicomnode.errors import DeliveryError, RetrievalError, SourceUnavailableError

Responses = Iterator[tuple[Dataset, Dataset | None]]


def remote_of(source: SourceSettings, settings: Settings) -> RemoteEntity:
    return RemoteEntity(
        f"source {source.name}",
        source.ae_title or "",
        source.host,
        source.port,
        source.calling_ae_title or settings.scp.ae_title,
        source.timeout_seconds,
        source.tls,
    )


@contextmanager
def retrieval_errors(remote: RemoteEntity) -> Iterator[None]:
    """Around an association: `SourceUnavailableError` where none comes about."""
    try:
        yield
    except DeliveryError as error:
        raise SourceUnavailableError(str(error)) from None
    except RuntimeError as error:
        # pynetdicom's word for an association that ended before the request was sent.
        raise RetrievalError(f"{remote} ended the association before its time: {error}") from None


@contextmanager
def reading(responses: Responses) -> Iterator[Responses]:
    """pynetdicom 3.0.4 hands out an answer that it can't read while it holds the lock that ending
    the association waits for: whoever stops reading has to end its generator first.
    """
    with closing(cast("Generator[tuple[Dataset, Dataset | None]]", responses)):
        yield responses


def status_of(
    response: Dataset,
    remote: RemoteEntity,
    operation: str,
    unanswered: type[RetrievalError] = RetrievalError,
) -> int:
    """The status of a DIMSE response; raises `unanswered` where none came."""
    if "Status" not in response:
        raise unanswered(
            f"{remote} aborted or did not answer a {operation} in time; some do so where they "
            f"don't know AE title {remote.calling_ae_title}: see whether it is allowed to ask"
        )
    return int(response.Status)
