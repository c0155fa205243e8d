"""A DICOMweb source: QIDO-RS (PS3.18 10.6) says what it has, WADO-RS (10.4) gives it.

No address is logged or quoted with its query: matching keys may identify a patient.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from dicomnode.config import SourceSettings, token_in
from dicomnode.dicom.uid_syntax import only_uid
from dicomnode.errors import RetrievalError, SourceUnavailableError
from dicomnode.retrieval.content import SeriesContent, stated_count, usable_studies
from dicomnode.retrieval.deadline import Deadline
from dicomnode.tls import client_context

_PAGE = 200  # some services refuse to be asked for more at once
_MOST_PAGES = 5000
_LONGEST_PAGE_BYTES = 134_217_728
# PS3.18 8.3.4.4: there is more than this answer holds.
_THERE_IS_MORE = re.compile(r"\b299\b")
_JSON = "application/dicom+json"
_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"
_COUNT = "00201209"
_REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
_AWAY = (
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
)
Row = Mapping[str, Any]


class WebCatalogue:
    """A source that is asked by QIDO-RS."""

    def __init__(self, source: SourceSettings) -> None:
        self._source = source

    def matching_studies(self, keys: Mapping[str, str], deadline: Deadline) -> list[str]:
        given = {keyword: value for keyword, value in keys.items() if value}
        rows = self._rows("/studies", given, _STUDY, deadline)
        return usable_studies((_value(row, _STUDY) for row in rows), who(self._source))

    def series_counts(self, study_instance_uid: str, deadline: Deadline) -> dict[str, int]:
        counts = self._counts(study_instance_uid, deadline)
        said = {uid: count for uid, count in counts.items() if count is not None}
        if len(said) == len(counts):
            return said
        return {s.series_instance_uid: s.count for s in self.content(study_instance_uid, deadline)}

    def content(self, study_instance_uid: str, deadline: Deadline) -> tuple[SeriesContent, ...]:
        counts = self._counts(study_instance_uid, deadline)
        instances: dict[str, dict[str, str]] = {uid: {} for uid in counts}
        path = f"/studies/{study_instance_uid}/instances"
        for row in self._rows(path, {}, _INSTANCE, deadline) if counts else ():
            named = instances.setdefault(self._uid(row, _SERIES), {})
            named[self._uid(row, _INSTANCE)] = only_uid(_value(row, _CLASS))
        return tuple(
            SeriesContent(uid, max(counts.get(uid) or 0, len(named)), named)
            for uid, named in instances.items()
        )

    def _counts(self, study_instance_uid: str, deadline: Deadline) -> dict[str, int | None]:
        """None where the source does not say NumberOfSeriesRelatedInstances."""
        path = f"/studies/{study_instance_uid}/series"
        rows = self._rows(path, {"includefield": _COUNT}, _SERIES, deadline)
        return {self._uid(row, _SERIES): _number(row) for row in rows}

    def _rows(
        self, path: str, keys: Mapping[str, str], unique: str, deadline: Deadline
    ) -> Iterator[Row]:
        """Page after page, until an empty one: servers limit how much they answer.

        Raises `RetrievalError` where what came is not known to be all.
        """
        seen: set[str] = set()
        there_is_more = False
        with client(self._source) as http:
            for _ in range(_MOST_PAGES):
                page = {"limit": str(_PAGE), "offset": str(len(seen))}
                rows, says_more = self._page(http, path, dict(keys) | page, deadline)
                new = {_value(row, unique): row for row in rows if _value(row, unique) not in seen}
                if rows and not new:
                    raise self._incomplete("the same rows for every offset")
                if not rows:
                    if there_is_more:
                        raise self._incomplete("a warning that there is more, and no more of it")
                    return
                there_is_more = says_more
                seen |= new.keys()
                yield from new.values()
        raise self._incomplete(f"more than {_MOST_PAGES} pages")

    def _incomplete(self, what: str) -> RetrievalError:
        return RetrievalError(
            f"{who(self._source)} answered QIDO-RS with {what}: nobody knows whether that is all"
        )

    def _page(
        self, http: httpx.Client, path: str, keys: Mapping[str, str], deadline: Deadline
    ) -> tuple[list[Row], bool]:
        """The rows, and whether the server warns that there are more."""
        address = f"{path}?{_encoded(keys)}"
        with (
            plain_errors(self._source, in_time=SourceUnavailableError),
            http.stream("GET", address, headers={"Accept": _JSON}) as answer,
        ):
            if answer.status_code == httpx.codes.NOT_FOUND and path == "/studies":
                raise SourceUnavailableError(f"{who(self._source)} has no QIDO-RS there (404)")
            if answer.status_code in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND):
                return [], False
            require_success(answer, self._source, "QIDO-RS")
            says_more = _THERE_IS_MORE.search(answer.headers.get("Warning", "")) is not None
            return self._read_rows(answer, deadline), says_more

    def _read_rows(self, answer: httpx.Response, deadline: Deadline) -> list[Row]:
        whole = bytearray()
        for piece in answer.iter_bytes():
            deadline.check()
            whole += piece
            if len(whole) > _LONGEST_PAGE_BYTES:
                raise self._incomplete(f"more than {_LONGEST_PAGE_BYTES} bytes at once")
        try:
            rows = json.loads(whole)
        except (ValueError, RecursionError):
            rows = None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RetrievalError(f"{who(self._source)} answered QIDO-RS with other than JSON rows")
        return rows

    def _uid(self, row: Row, tag: str) -> str:
        if uid := only_uid(_value(row, tag)):
            return uid
        attribute = f"({tag[:4]},{tag[4:]})"
        raise RetrievalError(f"{who(self._source)} answered QIDO-RS without a valid {attribute}")


@contextmanager
def client(source: SourceSettings) -> Iterator[httpx.Client]:
    """Raises `ConfigurationError` where the file with the token can't be read."""
    headers = {}
    if source.token_file is not None:
        key = f"sources: {source.name}: token_file"
        headers["Authorization"] = f"Bearer {token_in(source.token_file, key)}"
    trusted: ssl.SSLContext | bool = True
    if source.tls is not None:
        trusted = client_context(source.tls, f"sources: {source.name}: tls")
    with httpx.Client(
        base_url=source.url.rstrip("/"),
        headers=headers,
        timeout=source.timeout_seconds,
        verify=trusted,
    ) as http:
        yield http


def probe(source: SourceSettings) -> None:
    """One harmless question; raises what is wrong with the source."""
    with client(source) as http, plain_errors(source):
        answer = http.get("/studies?limit=1", headers={"Accept": _JSON})
    require_success(answer, source, "QIDO-RS")


def printable(text: str) -> str:
    """What a server wrote, as a sentence may quote it."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:64]


def who(source: SourceSettings) -> str:
    return f"source {source.name} ({source.url})"


@contextmanager
def plain_errors(
    source: SourceSettings, in_time: type[RetrievalError] = RetrievalError
) -> Iterator[None]:
    """Raises `in_time` where no answer came in time, or none went on."""
    try:
        yield
    except httpx.ConnectError as error:
        sentence = f"{who(source)} does not accept connections: {error}"
        raise SourceUnavailableError(sentence) from None
    except httpx.TimeoutException:
        raise in_time(f"{who(source)} did not answer in time") from None
    except httpx.HTTPError as error:
        sentence = f"{who(source)} broke off its answer: {type(error).__name__}"
        raise RetrievalError(sentence) from None


def require_success(answer: httpx.Response, source: SourceSettings, service: str) -> None:
    status = answer.status_code
    if status in _REFUSED:
        raise SourceUnavailableError(
            f"{who(source)} refused {service} with {status}: set token_file to a file with a token "
            "that it accepts"
        )
    if status == httpx.codes.NOT_FOUND:
        raise RetrievalError(f"{who(source)} answered {service} with 404: it has no such thing")
    if status in _AWAY:
        raise SourceUnavailableError(f"{who(source)} answered {service} with {status}: try later")
    if status != httpx.codes.OK:
        raise RetrievalError(f"{who(source)} answered {service} with HTTP status {status}")


def _encoded(keys: Mapping[str, str]) -> str:
    """Wildcards and carets stay as they are: Orthanc's plug-in 1.7 does not decode them."""
    return urlencode(keys, quote_via=quote, safe="*?^,:")


def _value(row: Row, tag: str) -> str:
    """The first value of an attribute in the DICOM JSON model (PS3.18 F.2), as text."""
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _number(row: Row) -> int | None:
    return stated_count(_value(row, _COUNT))
