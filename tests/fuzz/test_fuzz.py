"""A short run of what `bench/fuzz.py` does for long: the corpus, and some changes of it."""

from __future__ import annotations

import logging
import random
import warnings
from pathlib import Path

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import CORPUS, TARGETS, make_corpus

# Inputs that each target gets beside the corpus and all that ever made it crash.
CHANGED = {"data_set": 2000, "file": 300, "series": 120}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


def seeds(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_errors_of_ours_comes_out(target: str) -> None:
    corpus, rng = seeds(target), random.Random(20260102)
    for data in (*corpus, *(mutated(rng, corpus) for _ in range(CHANGED[target]))):
        TARGETS[target](data)


def test_the_corpus_is_drawn_data(tmp_path: Path) -> None:
    """Whatever in it is no crash of the past is what the factories write today."""
    make_corpus(tmp_path)
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(CORPUS) for path in CORPUS.rglob("*") if path.is_file()}
    assert {path for path in kept - made if not path.name.startswith("crash-")} == set()
    assert made <= kept
