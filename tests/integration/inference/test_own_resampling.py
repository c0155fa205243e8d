"""Masks made without nnU-Net's own resampling are the same; what networks share is made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bench.random_networks import write_networks
from dicomnode.config import InferenceSettings
from dicomnode.inference import preparing
from dicomnode.inference.models import load_manifest
from dicomnode.inference.nnunet import load_networks


def _blobs(shape: tuple[int, int, int]) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=shape), 1.5) * 400
    return np.pad(noise.astype(np.float32), ((1, 0), (0, 2), (1, 1)))


@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((20, 24, 22), (1.4, 0.8, 0.9)), ((6, 24, 22), (5.0, 0.8, 0.8))]
)
def test_networks_with_nnunets_presets_answer_the_same_either_way(
    tmp_path: Path, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    write_networks(tmp_path, (16, 8), features=4)
    models, array = load_manifest(tmp_path), _blobs(shape)
    ours, theirs = (
        load_networks(models, InferenceSettings(device="cpu", cpu_threads=1, own_resampling=is_own))
        for is_own in (True, False)
    )
    for one, other in zip(ours, theirs, strict=True):
        mask = one.segment(array, spacing_mm)
        assert 0.01 < mask.mean() < 0.99
        np.testing.assert_array_equal(mask, other.segment(array, spacing_mm))


def test_a_volume_is_prepared_once_for_networks_that_ask_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    prepare = preparing.prepare

    def counted(*given: object) -> preparing.Prepared:
        made.append(1)
        return prepare(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(preparing, "prepare", counted)
    write_networks(tmp_path, (8, 8), features=4)
    networks = load_networks(
        load_manifest(tmp_path), InferenceSettings(device="cpu", cpu_threads=1)
    )
    for count, array in enumerate((_blobs((6, 8, 8)), _blobs((6, 8, 8))), start=1):
        for network in networks:
            network.segment(array, (1.5, 1.5, 1.5))
        assert len(made) == count
    shared = networks[0]._preparing
    assert shared is networks[1]._preparing
    assert shared._made
    del array
    assert not shared._made
