"""Research projects: their policies, and what they decide."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dicomnode.config_policy import DEFAULT_PROJECT, ProjectName
from dicomnode.domain import GateDecision, GateOutcome, WantedDigest, as_json
from dicomnode.gate.digests import FilesDecision, NamedFile, decide_files
from dicomnode.gate.issuing import decide_study
from dicomnode.gate.policy import Policy, policy_of
from dicomnode.gate.studies import decide_studies
from dicomnode.web.api.access import Door, ListReader, TheDoor
from dicomnode.web.api.problems import responses
from dicomnode.web.api.studies import StudyUid
from dicomnode.web.api.values import FileList, ListEnd, ProjectPolicy, Projects, StudyList
from dicomnode.web.refused import RequestRefusedError

router = APIRouter()
Project = Annotated[ProjectName, Path(description="A section [projects.NAME], or default: [gate]")]

# Whoever reads slower than this doesn't read.
_LONGEST_LIST_SECONDS = 600.0
_LINES_AT_A_TIME = 200
_NDJSON = "application/x-ndjson"
_LINES = {
    200: {
        "description": "A decision a line, in the order given and each study once; last a ListEnd. "
        "Without that last line the answer was cut off.",
        "content": {
            _NDJSON: {
                "schema": {
                    "anyOf": [
                        {"$ref": f"#/components/schemas/{name}"}
                        for name in ("GateDecision", "ListEnd")
                    ]
                }
            }
        },
    }
}


@router.get("/projects", tags=["projects"])
def projects(door: TheDoor, _reader: ListReader) -> Projects:
    return Projects(projects=[DEFAULT_PROJECT, *sorted(door.settings.projects)])


@router.get("/projects/{project}", tags=["projects"], responses=responses(HTTPStatus.NOT_FOUND))
def project_policy(project: Project, door: TheDoor, _reader: ListReader) -> ProjectPolicy:
    policy = policy_of(door.settings, project)
    if policy.unknown:
        raise RequestRefusedError(HTTPStatus.NOT_FOUND, policy.unknown)
    return ProjectPolicy(project=project, rules=policy.rules, sha256=policy.digest)


@router.get("/projects/{project}/decisions/{study_uid}", tags=["decisions"])
def decision(
    project: Project, study_uid: StudyUid, door: TheDoor, _reader: ListReader
) -> GateDecision:
    """May this study leave? `outcome` is release, hold or unknown_study; only release is a yes.

    A project that is not configured holds everything.
    """
    policy, wanted = _rules(door, project)
    return door.counted(decide_study(door.database, study_uid, policy, wanted).decision)


@router.post(
    "/projects/{project}/decisions",
    tags=["decisions"],
    response_class=StreamingResponse,
    responses=_LINES,  # type: ignore[arg-type]
)
def decisions(
    project: Project, sent: StudyList, door: TheDoor, reader: ListReader
) -> StreamingResponse:
    """May these studies leave? One list at a time for each token."""
    policy, wanted = _rules(door, project)
    lines = _lines(map(door.counted, decide_studies(door.database, sent.studies, policy, wanted)))
    return _OneAtATime(lines, door.busy, reader.token_id)


@router.post("/projects/{project}/files", tags=["decisions"])
def files(project: Project, sent: FileList, door: TheDoor, _reader: ListReader) -> FilesDecision:
    """May these files leave? Each is compared, by the SHA-256 of all of it, with what was received.

    So a file that a PACS wrote anew, with a file meta of its own, is `changed` here:
    `dicomnode gate folder` looks into files, and lets such a file meta pass.
    """
    policy, wanted = _rules(door, project)
    named = [NamedFile(each.sop_instance_uid, each.sha256) for each in sent.files]
    return decide_files(named, door.database, policy, wanted)


class _OneAtATime(StreamingResponse):
    """Lines, made by a thread as they are read; `busy` are the tokens with a list under way."""

    def __init__(self, lines: Iterator[str], busy: set[int], token_id: int) -> None:
        super().__init__(lines, media_type=_NDJSON)
        self._busy = busy
        self._token_id = token_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._token_id in self._busy:
            raise RequestRefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "a list of this token is under way; ask again when it has ended",
                {"Retry-After": "10"},
            )
        self._busy.add(self._token_id)
        try:
            async with asyncio.timeout(_LONGEST_LIST_SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            self._busy.discard(self._token_id)


def _rules(door: Door, project: str) -> tuple[Policy, WantedDigest]:
    return policy_of(door.settings, project), door.examiner.now().wanted_digest


def _lines(found: Iterator[GateDecision]) -> Iterator[str]:
    counts = Counter[GateOutcome]()
    # Each piece goes through a thread, so it holds many lines.
    while few := list(islice(found, _LINES_AT_A_TIME)):
        counts.update(one.outcome for one in few)
        yield "".join(json.dumps(as_json(one)) + "\n" for one in few)
    end = {"complete": True} | {outcome.value: counts[outcome] for outcome in GateOutcome}
    yield ListEnd.model_validate(end).model_dump_json() + "\n"
