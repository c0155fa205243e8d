"""What a log line is about: series, study, job, association; for every line inside of a block.

UIDs, ids and names from the configuration, never an attribute of a patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039  never changed


@contextmanager
def about(**context: str) -> Iterator[None]:
    """Within the block, in this thread; what is empty is left out."""
    token = _about.set({**_about.get(), **{k: v for k, v in context.items() if v}})
    try:
        yield
    finally:
        _about.reset(token)


def current() -> Mapping[str, str]:
    return _about.get()
