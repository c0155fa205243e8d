"""Whether a source would answer, asked without asking for anything (`dicomnode check`)."""

from __future__ import annotations

from pydicom.uid import UID
from pynetdicom.presentation import build_context

from dicomnode.config import Settings, SourceSettings
from dicomnode.delivery.association import associated
from dicomnode.delivery.store import VERIFICATION_SOP_CLASS
from dicomnode.errors import SourceUnavailableError
from dicomnode.retrieval import web
from dicomnode.retrieval.association import remote_of, retrieval_errors, status_of
from dicomnode.retrieval.query import STUDY_ROOT_FIND
from dicomnode.retrieval.suboperations import STUDY_ROOT_GET, STUDY_ROOT_MOVE

_RETRIEVE = {"move": STUDY_ROOT_MOVE, "get": STUDY_ROOT_GET}


def probe(source: SourceSettings, settings: Settings) -> str:
    """What was found, as a sentence; raises `RetrievalError` with what is wrong."""
    if source.retrieve == "wado":
        web.probe(source)
        return "answers QIDO-RS"
    remote = remote_of(source, settings)
    wanted = [VERIFICATION_SOP_CLASS, STUDY_ROOT_FIND, _RETRIEVE[source.retrieve]]
    contexts = [build_context(uid) for uid in wanted]
    with retrieval_errors(remote), associated(remote, contexts) as association:
        if refused := [UID(str(c.abstract_syntax)).name for c in association.rejected_contexts]:
            raise SourceUnavailableError(f"{remote} does not accept {' and '.join(refused)}")
        status = status_of(association.send_c_echo(), remote, "C-ECHO")
    if status != 0x0000:
        raise SourceUnavailableError(f"{remote} answered a C-ECHO with 0x{status:04X}")
    return f"answers C-ECHO, and accepts C-FIND and C-{source.retrieve.upper()}"
