"""Showing, on request, what the images say of a patient; the audit log says who asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomnode.dicom.patient import read_patient
from dicomnode.errors import UnreadableObjectError
from dicomnode.tracking import audit, retention
from dicomnode.tracking.receipts import instances_of
from dicomnode.tracking.spool import Spool, object_name
from dicomnode.web.desk.desk import Desk
from dicomnode.web.desk.facts import Fact

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class ShownPatient:
    """`error` is a sentence where nothing can be shown."""

    facts: tuple[Fact, ...] = ()
    error: str = ""


def show_patient(desk: Desk, study_instance_uid: str, account: str) -> ShownPatient:
    """Recorded before anything is read: what was shown has its event, whatever happens then."""
    with desk.database.begin() as connection:
        uid = _any_instance(connection, study_instance_uid)
        removed_at = retention.first_removal(connection, [uid])
        audit.append(connection, "patient shown", study_instance_uid, {"account": account})
    if not uid:
        return ShownPatient(error="No series of this study is complete yet.")
    if removed_at is not None:
        return ShownPatient(error=f"One file was asked: its {retention.sentence(removed_at)}.")
    path = Spool(desk.settings.spool_folder).path(object_name(uid))
    try:
        said = read_patient(path)
    except UnreadableObjectError as error:
        return ShownPatient(error=f"One file was asked: {error}")
    return ShownPatient(tuple(Fact(name, value or "says nothing") for name, value in said.items()))


def _any_instance(connection: Connection, study_instance_uid: str) -> str:
    """Empty where no revision holds one."""
    of_series = instances_of(connection, study_instance_uid).values()
    return next((members[0].sop_instance_uid for members in of_series), "")
