"""MPPS and Instance Availability Notification as an SCP: how many instances a series has.

What is announced is recorded before it is answered, and nothing of a patient is kept. Retrieving a
step and notifying others of it are not offered.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import N_CREATE, N_SET
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
)

from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.dimse.store import status_response
from dicomnode.errors import DatabaseError
from dicomnode.scp.announced import (
    INVALID_VALUE,
    RefusedAnnouncementError,
    available,
    performed,
    status_of_step,
    studies_of_step,
)
from dicomnode.tracking import expected, procedure_steps
from dicomnode.tracking.database import Database
from dicomnode.tracking.procedure_steps import Change, StepStatus

LOGGER = logging.getLogger("dicomnode.scp")

SUCCESS, PROCESSING_FAILURE, DUPLICATE, NO_SUCH_INSTANCE = 0x0000, 0x0110, 0x0111, 0x0112
INVALID_INSTANCE, NO_SUCH_CLASS = 0x0117, 0x0118
# PS3.4 Table F.7.2-2: the Error ID where a step has ended.
MAY_NO_LONGER_BE_UPDATED = 0xA710

_Answer = tuple[int | Dataset, Dataset | None]


class ProcedureReceiver:
    """The handlers of one receiving process; called from the threads of its associations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def handlers(self) -> list[evt.EventHandlerType]:
        return [(evt.EVT_N_CREATE, self.on_create), (evt.EVT_N_SET, self.on_set)]

    def on_create(self, event: evt.Event) -> _Answer:
        """PS3.7 10.1.5: a step begins, or instances are available."""
        return _answered(lambda: self._create(event))

    def on_set(self, event: evt.Event) -> _Answer:
        """PS3.7 10.1.3: a step goes on, or ends."""
        return _answered(lambda: self._set(event))

    def _create(self, event: evt.Event) -> Dataset | None:
        request = event.request
        if not isinstance(request, N_CREATE):
            raise TypeError("not the event of an N-CREATE request")
        sop_class = _sop_class(event, request.AffectedSOPClassUID)
        given = request.AffectedSOPInstanceUID
        uid = _instance_uid(given) if given else f"2.25.{uuid.uuid4().int}"
        if sop_class == ModalityPerformedProcedureStep:
            self._begin_step(uid, event.attribute_list)
        else:
            self._note_available(event.attribute_list)
        if given:
            return None
        assigned = Dataset()
        assigned.AffectedSOPInstanceUID = uid
        return assigned

    def _begin_step(self, uid: str, step: Dataset) -> None:
        if status_of_step(step) is not StepStatus.IN_PROGRESS:
            raise RefusedAnnouncementError(INVALID_VALUE, "a new step has to be IN PROGRESS")
        studies, counts = studies_of_step(step), performed(step)
        with self._database.begin() as connection:
            is_new = procedure_steps.begin(connection, uid, studies, counts)
        if not is_new:
            raise RefusedAnnouncementError(DUPLICATE, "there is a step with this UID")
        LOGGER.info("procedure step in progress", extra={"studies": list(studies)})

    def _note_available(self, notice: Dataset) -> None:
        study_uid, notices = available(notice)
        with self._database.begin() as connection:
            for series_uid, named in sorted(notices.items()):
                expected.announce(
                    connection, study_uid, series_uid, named.available, named.unavailable
                )
        LOGGER.info("instances are available", extra={"study": study_uid, "series": len(notices)})

    def _set(self, event: evt.Event) -> None:
        request = event.request
        if not isinstance(request, N_SET):
            raise TypeError("not the event of an N-SET request")
        if _sop_class(event, request.RequestedSOPClassUID) != ModalityPerformedProcedureStep:
            raise RefusedAnnouncementError(NO_SUCH_CLASS, "only a procedure step can be changed")
        uid = _instance_uid(request.RequestedSOPInstanceUID)
        step = event.modification_list
        status = status_of_step(step) if "PerformedProcedureStepStatus" in step else None
        counts = performed(step) if "PerformedSeriesSequence" in step else None
        with self._database.begin() as connection:
            change = procedure_steps.change(connection, uid, status, counts)
        if change is Change.NO_SUCH_STEP:
            raise RefusedAnnouncementError(NO_SUCH_INSTANCE, "there is no step with this UID")
        if change is Change.HAS_ENDED:
            raise RefusedAnnouncementError(
                PROCESSING_FAILURE, "the step has ended", MAY_NO_LONGER_BE_UPDATED
            )
        LOGGER.info("procedure step changed", extra={"status": status or "unchanged"})


def add_contexts(entity: ApplicationEntity) -> None:
    entity.add_supported_context(ModalityPerformedProcedureStep)
    entity.add_supported_context(InstanceAvailabilityNotification)


def _sop_class(event: evt.Event, named: str | None) -> str:
    """The one of the presentation context; another one must not come through it."""
    if named != event.context.abstract_syntax:
        raise RefusedAnnouncementError(NO_SUCH_CLASS, "not the SOP Class of the context")
    return str(named)


def _instance_uid(value: str | None) -> str:
    uid = str(value or "").strip(" \0")
    if not is_uid(uid):
        raise RefusedAnnouncementError(INVALID_INSTANCE, "the SOP Instance UID is no UID")
    return uid


def _answered(work: Callable[[], Dataset | None]) -> _Answer:
    """The status of the answer, and the attributes that go with it."""
    try:
        return SUCCESS, work()
    except RefusedAnnouncementError as refused:
        LOGGER.warning("announcement refused: %s", refused)
        response = status_response(refused.status, str(refused))
        if refused.error_id is not None:
            response.ErrorID = refused.error_id
        return response, None
    except DatabaseError as error:
        LOGGER.error("an announcement could not be recorded", extra={"error": str(error)})
        return status_response(PROCESSING_FAILURE, "not recorded; send it again later"), None
    except Exception as error:  # noqa: BLE001  the edge: pydicom decodes what a peer sent
        # Its message could quote what the peer wrote.
        LOGGER.warning("an announcement can't be read", extra={"error": type(error).__name__})
        return status_response(PROCESSING_FAILURE, "the data set can't be read"), None
