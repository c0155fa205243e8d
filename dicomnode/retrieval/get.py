"""Retrieval by C-GET (PS3.4 C.4.3): the source stores over the association that asked it."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.presentation import build_context

from dicomnode.config import Settings, SourceSettings
from dicomnode.delivery.association import associated
from dicomnode.dimse.store import answer_store
from dicomnode.errors import SourceUnavailableError
from dicomnode.intake.intake import Intake
from dicomnode.retrieval.association import remote_of, retrieval_errors
from dicomnode.retrieval.content import SeriesContent
from dicomnode.retrieval.deadline import Deadline
from dicomnode.retrieval.deposit import Deposit, depositing
from dicomnode.retrieval.report import Report
from dicomnode.retrieval.storage_contexts import (
    USUAL_SOP_CLASSES,
    storage_contexts,
    storage_roles,
)
from dicomnode.retrieval.suboperations import STUDY_ROOT_GET, follow, study_identifier


class Getter:
    """Each object is durable before its sub-operation is answered."""

    def __init__(self, source: SourceSettings, settings: Settings, intake: Intake) -> None:
        self._remote = remote_of(source, settings)
        self._object_bytes = settings.scp.maximum_object_bytes
        self._intake = intake

    def retrieve(
        self, study_instance_uid: str, content: Sequence[SeriesContent], deadline: Deadline
    ) -> Report:
        remote = self._remote
        with depositing(
            self._intake,
            study_instance_uid,
            calling=remote.ae_title,
            called=remote.calling_ae_title,
            address=remote.host,
        ) as deposit:
            report = self._get(study_instance_uid, _sop_classes(content), deposit, deadline)
            if deposit.trouble is not None:
                raise deposit.trouble
        parts = (report.sentence, deposit.sentence)
        return Report(report.succeeded, "; ".join(part for part in parts if part))

    def _get(
        self,
        study_instance_uid: str,
        sop_classes: Sequence[str],
        deposit: Deposit,
        deadline: Deadline,
    ) -> Report:
        contexts = [build_context(STUDY_ROOT_GET), *storage_contexts(sop_classes)]
        with (
            retrieval_errors(self._remote),
            associated(
                self._remote,
                contexts,
                roles=storage_roles(sop_classes),
                handlers=[
                    (evt.EVT_C_STORE, _on_store, [deposit]),
                ],
                check=deadline.check,
                object_bytes=self._object_bytes,
            ) as association,
        ):
            accepted = association.accepted_contexts
            if not any(c.abstract_syntax == STUDY_ROOT_GET for c in accepted):
                self._unavailable("it does not accept C-GET")
            if not any(c.as_scp for c in accepted):
                self._unavailable("it stores nothing over an association that it did not open")
            responses = association.send_c_get(study_identifier(study_instance_uid), STUDY_ROOT_GET)
            return follow(responses, self._remote, "C-GET")[1]

    def _unavailable(self, why: str) -> None:
        raise SourceUnavailableError(f'{self._remote}: {why}; set retrieve = "move" or "wado"')


def _sop_classes(content: Sequence[SeriesContent]) -> Sequence[str]:
    """Those that the source names, or the usual ones where it names none for some instance."""
    named = {sop_class for series in content for sop_class in series.instances.values()}
    counted = all(len(series.instances) == series.count for series in content)
    return sorted(named) if counted and "" not in named else USUAL_SOP_CLASSES


def _on_store(event: evt.Event, deposit: Deposit) -> Dataset | int:
    return answer_store(event, deposit.peer, deposit.object)
