"""Retrieval by WADO-RS (PS3.18 10.4.1.1.1): the instances of a study as they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from dicomnode.config import Settings, SourceSettings
from dicomnode.errors import RetrievalError, UnreadableObjectError
from dicomnode.intake.intake import Intake
from dicomnode.intake.multipart import MultipartReader, Part, media_type
from dicomnode.intake.refusals import RefusedObjectError
from dicomnode.retrieval.content import SeriesContent
from dicomnode.retrieval.deadline import Deadline
from dicomnode.retrieval.deposit import depositing
from dicomnode.retrieval.report import Report
from dicomnode.retrieval.web import client, plain_errors, printable, require_success, who

_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_OBJECT, _RELATED = "application/dicom", "multipart/related"


class WebRetriever:
    """Parts go to the intake with their bytes untouched, one in memory at a time."""

    def __init__(self, source: SourceSettings, settings: Settings, intake: Intake) -> None:
        self._source = source
        self._scp = settings.scp
        self._intake = intake

    def retrieve(
        self, study_instance_uid: str, content: Sequence[SeriesContent], deadline: Deadline
    ) -> Report:
        """The content is not needed: the source decides what its study is."""
        with depositing(
            self._intake,
            study_instance_uid,
            calling=self._source.ae_title or "",
            called=self._scp.ae_title,
            address=urlsplit(self._source.url).hostname or "",
        ) as deposit:
            parts = 0
            for part in self._parts(study_instance_uid, deadline):
                parts += 1
                with suppress(RefusedObjectError):  # counted by the deposit
                    deposit.file(part.content)
        sentence = f"WADO-RS: {parts} objects"
        return Report(True, "; ".join(filter(None, (sentence, deposit.sentence))))

    def _parts(self, study_instance_uid: str, deadline: Deadline) -> Iterator[Part]:
        with (
            client(self._source) as http,
            plain_errors(self._source),
            http.stream(
                "GET", f"/studies/{study_instance_uid}", headers={"Accept": _AS_STORED}
            ) as answer,
        ):
            # Of a part of the study (206) is kept what comes; whether it was all is looked up.
            if answer.status_code != httpx.codes.PARTIAL_CONTENT:
                require_success(answer, self._source, "WADO-RS")
            try:
                yield from self._read(answer, deadline)
            except UnreadableObjectError as error:
                raise RetrievalError(
                    f"{who(self._source)} answered WADO-RS with what can't be read: {error}"
                ) from None

    def _read(self, answer: httpx.Response, deadline: Deadline) -> Iterator[Part]:
        content_type = answer.headers.get("Content-Type", "")
        named = media_type(content_type)
        if named != _RELATED:
            sentence = f"it is {printable(named) or 'of no media type'}, not {_RELATED}"
            raise UnreadableObjectError(sentence)
        reader = MultipartReader(content_type, self._scp.maximum_object_bytes)
        for piece in answer.iter_bytes():
            deadline.check()
            for part in reader.feed(piece):
                if part.media_type not in (_OBJECT, ""):
                    sentence = f"a part is {printable(part.media_type)}, not {_OBJECT}"
                    raise UnreadableObjectError(sentence)
                yield part
        reader.finish()
