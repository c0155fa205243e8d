"""The catalogue and the cards say what is known, and that the rest is unknown."""

from __future__ import annotations

import re

import pytest

from dicomnode.errors import ModelError
from dicomnode.inference.cards import SUBJECTS, UNKNOWN, lines, normalised
from dicomnode.inference.catalogue import RELEASES, known_network, release_named
from dicomnode.inference.labels import segment_labels
from dicomnode.inference.models import STARTER_FOLDER, load_manifest


def test_every_known_network_speaks_to_every_subject_of_a_card() -> None:
    for release in RELEASES:
        for network in release.networks:
            assert set(SUBJECTS) <= set(network.card), network.dataset
            assert all(metric["confidence"] for metric in network.card["metrics"][:1])
            assert known_network(network.dataset) == (release, network)


def test_no_size_or_digest_is_made_up() -> None:
    for release in RELEASES:
        assert release.size_bytes is None
        assert release.sha256 is None
        assert not release.url or re.fullmatch(r"https://\S+/" + release.file_name, release.url)


@pytest.mark.parametrize("name", ["bvm2025", "BVM2025", "bvm2025_networks.zip"])
def test_a_release_goes_by_its_name_and_that_of_its_file(name: str) -> None:
    release = release_named(name)
    assert release is not None
    assert release.file_name == "BVM2025_Networks.zip"
    assert release_named("something") is None


def test_what_a_card_does_not_say_is_unknown() -> None:
    card = normalised({"kind": "face", "licence": "MIT", "epochs": 3, "metrics": {}})
    assert card["licence"] == "MIT"
    assert card["epochs"] == 3
    assert card["metrics"] == card["spacing_limits"] == UNKNOWN
    assert "kind" not in card


def test_a_card_is_told_line_by_line() -> None:
    card = {"metrics": [{"name": "Dice", "value": 0.9}], "patch": (1, 2), "known_failures": ["a"]}
    assert lines(card) == [
        "metrics:",
        "  -",
        "    name: Dice",
        "    value: 0.9",
        "patch: 1 x 2",
        "known failures:",
        "  - a",
    ]


def test_every_starter_carries_its_card_in_the_manifest() -> None:
    for model in load_manifest(STARTER_FOLDER):
        assert set(SUBJECTS) <= set(model.card)
        assert model.card["training_data"] != UNKNOWN


@pytest.mark.parametrize(
    ("wanted", "values"),
    [((), ()), (("2",), (2,)), (("eye", "1"), (1, 3)), (("whole",), (1, 2)), (("3", "3"), (3,))],
)
def test_labels_go_by_value_or_name(wanted: tuple[str, ...], values: tuple[int, ...]) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2, "eye": 3, "ignore": 4}
    assert segment_labels({"labels": labels}, wanted)[0] == values


@pytest.mark.parametrize("wanted", ["0", "background", "4", "ignore", "-1", "nose"])
def test_a_label_that_there_is_not_is_refused_with_those_there_are(wanted: str) -> None:
    labels = {"background": 0, "face": 1, "ignore": 4}
    with pytest.raises(ModelError, match=r"there are: 1 \(face\)"):
        segment_labels({"labels": labels}, (wanted,))


@pytest.mark.parametrize("dataset", [{}, {"labels": ["a"]}, {"labels": {"background": 0}}])
def test_a_dataset_without_labels_has_no_segment(dataset: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"dataset\.json"):
        segment_labels(dataset, ())
