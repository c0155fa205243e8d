"""Fetching a large file over HTTP: resumed where it broke off, checked before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from dicomnode.errors import ModelError

Progress = Callable[[int, int | None], None]

MOST_BYTES = 64 * 2**30
# Attempts in a row that brought nothing new; one that did begins the count again.
FRUITLESS_ATTEMPTS = 3
TIMEOUT_SECONDS = 60.0
_FREE_MARGIN_BYTES = 256 * 2**20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_WHOLE = re.compile(r"bytes \*/(\d+)")
_BUSY = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class _Known:
    """What the server said about the file that `.part` is a part of."""

    validator: str = ""  # a strong ETag or a Last-Modified (RFC 9110 13.1.5), else empty
    size_bytes: int | None = None


class _BrokenOffError(Exception):
    """This attempt got no further; another one may."""


@dataclass(frozen=True)
class _Target:
    url: str
    part: Path
    expected_bytes: int | None
    sha256: str | None

    @property
    def note(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    @property
    def have_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def shown(self) -> str:
        return shown(self.url)

    def known(self) -> _Known:
        try:
            return _Known(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return _Known()

    def remember(self, known: _Known) -> None:
        self.note.write_text(json.dumps(asdict(known)), encoding="utf-8")

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def shown(url: str) -> str:
    """The address without what may be secret in it: user, password, query.

    Raises `ModelError` where it is none.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        bare = re.split(r"[?#]", url)[0].rpartition("@")[2]
        raise ModelError(f"{bare}: not an address: {error}") from None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def file_name(url: str) -> str:
    """The last part of the path that looks like a file's name (APIs end in `/content`)."""
    names = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    name = next((name for name in reversed(names) if "." in name), names[-1] if names else "")
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "download"


def fetch(
    url: str,
    folder: Path,
    progress: Progress,
    *,
    size_bytes: int | None = None,
    sha256: str | None = None,
    wait_seconds: float = 2.0,
) -> Path:
    """The file at `url`, whole, as `<name>.part` in `folder`, where it stays until it is removed.

    Resumes a `.part` of the same file. Raises `ModelError` where the server refuses, breaks off
    again and again (the `.part` stays), or gives another size or SHA-256 than expected (it goes).
    """
    shown(url)  # raises where it is none
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{file_name(url)}.part"
    target = _Target(url, folder / name, size_bytes, sha256)
    fruitless = 0
    with _client(target) as client:
        while True:
            before = target.have_bytes
            try:
                _attempt(client, target, progress)
                break
            except _BrokenOffError as broken:
                fruitless = 0 if target.have_bytes > before else fruitless + 1
                if fruitless >= FRUITLESS_ATTEMPTS:
                    raise ModelError(_given_up(target, broken)) from None
                time.sleep(wait_seconds)
    _require(target)
    return target.part


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _client(target: _Target) -> Iterator[httpx.Client]:
    # A compressed answer would have another length than the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "dicomnode"}
    try:
        with httpx.Client(
            headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=True
        ) as client:
            yield client
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ModelError(f"{target.shown}: not an address: {error}") from None
    except httpx.TooManyRedirects:
        raise ModelError(f"{target.shown}: redirects without end") from None


def _attempt(client: httpx.Client, target: _Target, progress: Progress) -> None:
    """Append to `.part`, or write it anew, until the server has given all; or `_BrokenOffError`."""
    known, have = target.known(), target.have_bytes
    headers = _resuming(known, target)
    try:
        with client.stream("GET", target.url, headers=headers) as answer:
            _require_safe_way(answer, target)
            if headers and answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return _nothing_left(answer, target, have)
            start = _start(answer, have)
            was, known = known, _described(answer, target, start)
            if start and known != was:
                target.forget()
                raise _BrokenOffError("the file became another one")
            target.remember(known)
            _write(answer, target, start, known.size_bytes, progress)
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _BrokenOffError(str(error) or type(error).__name__) from None
    if known.size_bytes is not None and target.have_bytes < known.size_bytes:
        raise _BrokenOffError("the server ended early")
    return None


def _resuming(known: _Known, target: _Target) -> dict[str, str]:
    """Ask for the rest only where a mixture of two files would be noticed."""
    if not target.have_bytes or not (known.validator or target.sha256):
        return {}
    headers = {"Range": f"bytes={target.have_bytes}-"}
    return headers | ({"If-Range": known.validator} if known.validator else {})


def _start(answer: httpx.Response, have: int) -> int:
    """Where the answer's bytes go: behind what is here (206), or to the beginning (200)."""
    code = answer.status_code
    if code == httpx.codes.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise ModelError(f"{shown(str(answer.url))}: answers with another range than asked for")
        return have
    if code in _BUSY:
        raise _BrokenOffError(f"the server answers {code} {answer.reason_phrase}")
    if code != httpx.codes.OK:
        raise ModelError(f"{shown(str(answer.url))}: answers {code} {answer.reason_phrase}")
    return 0


def _described(answer: httpx.Response, target: _Target, start: int) -> _Known:
    """Validator and size; raises `ModelError` where the size can't be right, or finds no room."""
    etag, size = answer.headers.get("ETag", ""), None
    if found := _RANGE.fullmatch(answer.headers.get("Content-Range", "")):
        size = int(found[2]) if found[2].isdigit() else None
    elif answer.headers.get("Content-Length", "").isdigit():
        size = int(answer.headers["Content-Length"])
    expected = target.expected_bytes
    if size is not None and expected is not None and size != expected:
        target.forget()
        raise ModelError(f"{target.shown}: has {size} bytes, expected {expected}: not fetched")
    room = min(MOST_BYTES, shutil.disk_usage(target.part.parent).free - _FREE_MARGIN_BYTES + start)
    if (size or 0) > room:
        raise ModelError(f"{target.shown}: has {size} bytes, but there is room for {room} only")
    strong = etag if etag and not etag.startswith("W/") else ""
    return _Known(strong or answer.headers.get("Last-Modified", ""), size)


def _write(
    answer: httpx.Response, target: _Target, start: int, size: int | None, progress: Progress
) -> None:
    most = size if size is not None else target.expected_bytes or MOST_BYTES
    with target.part.open("r+b" if start else "wb") as file:
        file.seek(start)
        done = start
        for (
            block
        ) in answer.iter_raw():  # as it comes: a collected block is lost where it breaks off
            done += len(block)
            if done > most:
                raise ModelError(f"{target.shown}: gives more than the {most} bytes it should have")
            file.write(block)
            progress(done, size)


def _nothing_left(answer: httpx.Response, target: _Target, have: int) -> None:
    """416 to a range behind the end: all is here, unless the file became another one (RFC 9110)."""
    found = _WHOLE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is not None and int(found[1]) == have == target.known().size_bytes:
        return
    target.forget()
    raise _BrokenOffError("the file became another one")


def _require_safe_way(answer: httpx.Response, target: _Target) -> None:
    ways = {step.url.scheme for step in (*answer.history, answer)}
    if urlsplit(target.url).scheme == "https" and ways != {"https"}:
        raise ModelError(f"{target.shown}: redirects from https to an address anybody can change")


def _require(target: _Target) -> None:
    """The expected size and digest; what differs is thrown away."""
    have, expected, sha256 = target.have_bytes, target.expected_bytes, target.sha256
    if expected is not None and have != expected:
        target.forget()
        raise ModelError(f"{target.shown}: gave {have} bytes, expected {expected}: thrown away")
    if sha256 is not None and (found := digest(target.part)) != sha256.lower():
        target.forget()
        raise ModelError(f"{target.shown}: SHA-256 is {found}, expected {sha256}: thrown away")


def _given_up(target: _Target, broken: _BrokenOffError) -> str:
    size = target.known().size_bytes
    of = f" of {size}" if size is not None else ""
    if not target.have_bytes:
        return f"{target.shown}: can't be fetched: {broken}"
    return (
        f"{target.shown}: broke off at {target.have_bytes}{of} bytes: {broken}. What is here is "
        "kept: the same command goes on"
    )
