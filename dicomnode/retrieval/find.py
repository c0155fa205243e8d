"""What a source has: the studies that match, and the instances of one study.

A source is asked in its own protocol: C-FIND (`query`) or QIDO-RS (`web`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from dicomnode.config import Settings, SourceSettings
from dicomnode.dicom.uid_syntax import is_uid
from dicomnode.errors import ConfigurationError, RetrievalError
from dicomnode.retrieval import query, web
from dicomnode.retrieval.content import Catalogue
from dicomnode.retrieval.deadline import Deadline

# Others wait to be asked, too.
_QUESTION_SECONDS = 30.0
# Study level matching keys (PS3.4 Table C.6-5).
_PLAIN_KEYS = (
    "StudyDate",
    "StudyTime",
    "ModalitiesInStudy",
    "StudyDescription",
    "PatientSex",
    "StudyInstanceUID",
)
# They are sent to the source and kept nowhere. A command line is seen by every user of a machine.
IDENTIFYING_KEYS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
QUERY_KEYS = _PLAIN_KEYS + IDENTIFYING_KEYS


def source_named(settings: Settings, name: str) -> SourceSettings:
    """Raises `ConfigurationError` with the names that there are."""
    for source in settings.sources:
        if source.name == name:
            return source
    known = ", ".join(source.name for source in settings.sources) or "none"
    raise ConfigurationError(f"no [[sources]] block is named {name!r}; configured: {known}")


def catalogue_of(source: SourceSettings, settings: Settings) -> Catalogue:
    if source.retrieve == "wado":
        return web.WebCatalogue(source)
    return query.DicomCatalogue(source, settings)


def series_counts(
    source: SourceSettings, settings: Settings, study_instance_uid: str
) -> Mapping[str, int]:
    """NumberOfSeriesRelatedInstances by Series Instance UID; empty for an unknown study.

    Raises `RetrievalError` where the source does not say.
    """
    return catalogue_of(source, settings).series_counts(
        study_instance_uid, Deadline(_QUESTION_SECONDS)
    )


def query_keys(pairs: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as matching keys; raises `RetrievalError` that quotes no value."""
    keys = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in QUERY_KEYS:
            raise RetrievalError(f"a query is KEY=VALUE, with KEY one of {', '.join(QUERY_KEYS)}")
        keys[key] = value
    return keys


def visible_query_keys(pairs: Iterable[str]) -> dict[str, str]:
    """`query_keys` of a command line: none that identifies a patient."""
    keys = query_keys(pairs)
    if identifying := [key for key in keys if key in IDENTIFYING_KEYS]:
        raise RetrievalError(
            f"{', '.join(identifying)} can identify a patient, and every user of this machine sees "
            "command lines: write it into a file, KEY=VALUE, and name that with --query-file "
            "(- is standard input)"
        )
    return keys


def listed_query_keys(lines: Iterable[str]) -> dict[str, str]:
    """The keys in a file: one KEY=VALUE a line, empty lines and those with a # in front aside."""
    stripped = (line.strip() for line in lines)
    return query_keys(line for line in stripped if line and not line.startswith("#"))


def matching_studies(
    source: SourceSettings, settings: Settings, keys: Mapping[str, str]
) -> list[str]:
    """Raises `RetrievalError` where the source has none, too."""
    deadline = Deadline(settings.pull.study_timeout_seconds)
    found = catalogue_of(source, settings).matching_studies(keys, deadline)
    if not found:
        raise RetrievalError(f"source {source.name} has no study that matches")
    return found


def checked_uids(uids: Iterable[str]) -> list[str]:
    """Raises `RetrievalError` for what is no UID; it is not quoted, it may be anything."""
    checked = []
    for number, uid in enumerate(uids, 1):
        if not is_uid(uid):
            raise RetrievalError(f"study {number} of those given is no Study Instance UID")
        checked.append(uid)
    return checked


def listed_uids(file: Path) -> list[str]:
    """One UID a line; what follows a # is a comment. Raises `RetrievalError` with the line."""
    uids = []
    for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
        uid = line.partition("#")[0].strip()
        if uid and not is_uid(uid):
            raise RetrievalError(f"{file}, line {number}: no Study Instance UID")
        uids += [uid] if uid else []
    if not uids:
        raise RetrievalError(f"{file}: no Study Instance UID in it")
    return uids
