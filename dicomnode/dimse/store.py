"""C-STORE requests that this node is sent, over an association that it accepted or asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from dicomnode.errors import DatabaseError, SpoolError
from dicomnode.intake.received import Peer, ReceivedObject
from dicomnode.intake.refusals import REFUSALS, RefusedObjectError, reason_of

LOGGER = logging.getLogger("dicomnode.association")

SUCCESS = 0x0000


def answer_store(
    event: evt.Event, peer: Peer, store: Callable[[ReceivedObject], object]
) -> Dataset | int:
    """`answer`, as pynetdicom wants it of a handler of EVT_C_STORE."""
    status, comment = answer(received_object(event, peer), store)
    return status_response(status, comment) if comment else status


def answer(received: ReceivedObject, store: Callable[[ReceivedObject], object]) -> tuple[int, str]:
    """PS3.4 B.2.3 and PS3.7 9.1.1: Status and Error Comment of the C-STORE response.

    The status is 0x0000, without a comment, when `store` returned: it makes the object durable, or
    raises as `Intake.store` does.
    """
    try:
        store(received)
    except RefusedObjectError as refused:  # logged by the intake
        return REFUSALS[reason_of(refused)]
    except (DatabaseError, SpoolError) as error:
        reason = reason_of(error)
        LOGGER.error(
            "an object could not be taken in", extra={"reason": reason.value, "error": str(error)}
        )
        return REFUSALS[reason]
    return SUCCESS, ""


def status_response(status: int, comment: str) -> Dataset:
    """A response with an Error Comment (0000,0902)."""
    response = Dataset()
    response.Status = status
    response.ErrorComment = comment
    return response


def received_object(event: evt.Event, peer: Peer) -> ReceivedObject:
    """The request of an EVT_C_STORE; raises `TypeError` for any other event."""
    request, context = event.request, event.context
    if not isinstance(request, C_STORE) or not isinstance(request.DataSet, BytesIO):
        raise TypeError("not the event of a C-STORE request")
    return ReceivedObject(
        peer=peer,
        sop_class_uid=str(request.AffectedSOPClassUID).strip(" \0"),
        sop_instance_uid=str(request.AffectedSOPInstanceUID).strip(" \0"),
        context_sop_class_uid=str(context.abstract_syntax),
        transfer_syntax_uid=str(context.transfer_syntax),
        data_set=request.DataSet.getvalue(),
    )
