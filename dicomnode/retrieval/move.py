"""Retrieval by C-MOVE (PS3.4 C.4.2): the source sends to this node's own receiver."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pynetdicom.presentation import build_context

from dicomnode.config import DestinationSettings, SCPSettings, Settings, SourceSettings
from dicomnode.delivery.association import associated
from dicomnode.delivery.store import echo
from dicomnode.errors import (
    AssociationRejectedError,
    DeliveryError,
    RetrievalError,
    SourceUnavailableError,
)
from dicomnode.retrieval.association import remote_of, retrieval_errors
from dicomnode.retrieval.content import SeriesContent
from dicomnode.retrieval.deadline import Deadline
from dicomnode.retrieval.report import Report
from dicomnode.retrieval.suboperations import STUDY_ROOT_MOVE, follow, study_identifier
from dicomnode.tls import shows

_DESTINATION_UNKNOWN = 0xA801
_UNABLE_TO_PROCESS = range(0xC000, 0xD000)
# Source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21).
_CALLED_AE_TITLE_NOT_RECOGNISED = (1, 7)


class Mover:
    """`arrived` counts the instances of a study that are here: a source that is silent for long
    is waited for as long as it sends."""

    def __init__(
        self, source: SourceSettings, settings: Settings, arrived: Callable[[str], int]
    ) -> None:
        self._remote = remote_of(source, settings)
        self._settings = settings
        self._arrived = arrived

    def retrieve(
        self, study_instance_uid: str, content: Sequence[SeriesContent], deadline: Deadline
    ) -> Report:
        """The content is not needed: the source decides what its study is."""
        scp = self._settings.scp
        with (
            retrieval_errors(self._remote),
            associated(
                self._remote,
                [build_context(STUDY_ROOT_MOVE)],
                wait_on=self._still_sending(study_instance_uid),
                check=deadline.check,
            ) as association,
        ):
            identifier = study_identifier(study_instance_uid)
            responses = association.send_c_move(identifier, scp.ae_title, STUDY_ROOT_MOVE)
            status, report = follow(responses, self._remote, "C-MOVE")
        if status == _DESTINATION_UNKNOWN:
            raise SourceUnavailableError(
                f"{self._remote} doesn't know AE title {scp.ae_title}; add it there with this "
                f"node's address and port {scp.port}"
            )
        if status in _UNABLE_TO_PROCESS:
            # Orthanc's word for a destination that it does not know or can't reach, too.
            question = (
                f"does it know AE title {scp.ae_title}, this node's address and port {scp.port}?"
            )
            return Report(False, f"{report.sentence}; {question}")
        return report

    def _still_sending(self, study_instance_uid: str) -> Callable[[], bool]:
        seen = self._arrived(study_instance_uid)

        def more_came() -> bool:
            nonlocal seen
            before, seen = seen, self._arrived(study_instance_uid)
            return seen > before

        return more_came


def require_receiver(settings: Settings) -> None:
    """Raises `RetrievalError` where this node's own receiver is not there to be sent to."""
    scp = settings.scp
    if scp.tls is not None and scp.tls.only:
        if shows(scp.host, scp.tls.port, scp.tls.certificate_file):
            return
        raise _no_receiver(scp, scp.tls.port, "nobody there shows its certificate")
    ourselves = DestinationSettings(
        name="self", ae_title=scp.ae_title, host=scp.host, port=scp.port, timeout_seconds=5.0
    )
    try:
        echo(ourselves, scp.ae_title)
    except AssociationRejectedError as error:
        if error.reason != _CALLED_AE_TITLE_NOT_RECOGNISED:
            return  # it runs, and admits others only
        why = "another DICOM node answers there"
    except DeliveryError:
        why = "nobody answers a C-ECHO there"
    else:
        return
    raise _no_receiver(scp, scp.port, why)


def _no_receiver(scp: SCPSettings, port: int, why: str) -> RetrievalError:
    return RetrievalError(
        f"this node's own receiver, {scp.ae_title} at {scp.host}:{port}, is not running, and "
        f"C-MOVE would send to it: {why}. Start it: dicomnode serve, or dicomnode scp"
    )
