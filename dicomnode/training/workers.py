"""Numbered pieces of work, done ahead by processes of one thread each and handed out in order.

One thread: a sum whose order changes would make another volume of the same seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

Piece = TypeVar("Piece")


def cores() -> int:
    return len(os.sched_getaffinity(0))


def in_order(pieces: Dataset[Piece], numbers: Sequence[int], workers: int) -> Iterator[Piece]:
    """`pieces[n]` for each of the numbers."""
    return iter(
        DataLoader(
            pieces,
            batch_size=None,
            sampler=numbers,
            collate_fn=_as_it_is,
            num_workers=workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4,
        )
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _as_it_is(piece: Any) -> Any:
    """numpy arrays stay that: they pass through a pipe, and need no shared memory."""
    return piece
