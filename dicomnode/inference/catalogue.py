"""Networks that others released, and what is known of them: a table, one entry a network.

Only facts with a source. What nobody told stands as unknown: no size, digest or licence is guessed.
Nothing of it is redistributed; the user fetches it, or names a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dicomnode.domain import SegmentKind
from dicomnode.inference.cards import UNKNOWN


@dataclass(frozen=True)
class KnownNetwork:
    """A network by the name of its dataset folder, `DatasetNNN_name`.

    `labels`: which answers are the segment; empty: all but background. `folds`: which ones its
    users run where it has several; empty: as nnU-Net would choose.
    """

    dataset: str
    kind: SegmentKind
    modalities: tuple[str, ...]
    version: str
    meaning: str
    card: Mapping[str, Any] = field(hash=False)
    labels: tuple[int, ...] = ()
    folds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """An archive as its makers released it; `url` is empty where no direct address is known."""

    name: str
    file_name: str
    url: str
    source: str
    licence: str
    remarks: str
    networks: tuple[KnownNetwork, ...]
    size_bytes: int | None = None
    sha256: str | None = None


_BVM_TRAINING: Mapping[str, Any] = {
    "images": "3,299 (1,899 CT, 1,400 MR) for the foreground; the anonymised area: unknown",
    "paper": "arXiv 2501.04361 (BVM 2025)",
}
_BVM_FAILURES = (
    "constant-valued ring or padding added by the reconstruction",
    "images without contrast between body and air",
)
_BVM_LIMITS: Mapping[str, Any] = {
    "patch_voxels": (192, 192, 192),
    "normalisation": "z-score for both modalities",
}
_BVM_VERSION = "BVM2025, Zenodo record 14509685"
_BVM_LICENCE = f"{UNKNOWN}: read the terms of the Zenodo record before use"
_DEFACE_LICENCE = "none given on code or weights: never redistribute; ask the authors before use"


def _bvm_card(dice: str, *more_failures: str) -> Mapping[str, Any]:
    metric = {
        "name": "mean Dice",
        "value": dice,
        "confidence": "no interval known here; said to hold across defacing methods",
        "source": "arXiv 2501.04361",
    }
    return {
        "training_data": _BVM_TRAINING,
        "licence": _BVM_LICENCE,
        "metrics": [metric, {"name": "HD95", "value": UNKNOWN, "source": "arXiv 2501.04361"}],
        "known_failures": [*_BVM_FAILURES, *more_failures],
        "modality_limits": "CT and MR",
        "spacing_limits": UNKNOWN,
        "network": _BVM_LIMITS,
    }


_DEFACE_CARD: Mapping[str, Any] = {
    "training_data": {
        "images": "100 CT angiographies",
        "paper": "Mahmutoglu et al., Eur Radiol Exp 2024;8:111",
    },
    "licence": _DEFACE_LICENCE,
    "metrics": [
        {
            "name": "Dice",
            "value": 0.94,
            "confidence": "+- 0.02 over 50 external test cases",
            "source": "Mahmutoglu et al. 2024",
        },
        {
            "name": "re-identification ROC-AUC after defacing by the whole tool (0.69 undefaced)",
            "value": 0.60,
            "confidence": "no interval known here",
            "source": "Lindholz 2025, independent test",
        },
    ],
    "known_failures": [
        "a skin shell of 1 to 2 voxels stays outside the mask, enough to recognise a face",
    ],
    "modality_limits": "trained on CT angiography only; other CT and MR: unknown",
    "spacing_limits": UNKNOWN,
    "network": {"patch_voxels": 128, "architecture": "plain U-Net, 6 stages, 32 to 320 channels"},
}

RELEASES = (
    Release(
        name="bvm2025",
        file_name="BVM2025_Networks.zip",
        url="https://zenodo.org/records/14509685/files/BVM2025_Networks.zip",
        source="Zenodo record 14509685, BVM2025_Networks.zip (Nohel, Ulrich, ... Maier-Hein)",
        licence=_BVM_LICENCE,
        remarks="Foreground and anonymised area for CT and MR. The address is formed by Zenodo's "
        "scheme from record and file name; size and SHA-256 are unknown here.",
        networks=(
            KnownNetwork(
                dataset="Dataset803_anatomical_foreground_v2",
                kind=SegmentKind.FOREGROUND,
                modalities=("CT", "MR"),
                version=_BVM_VERSION,
                meaning="anatomical foreground: body against air (label 1)",
                card=_bvm_card("> 0.995"),
                folds=("all",),
            ),
            KnownNetwork(
                dataset="Dataset804_SEG_defaced_areas_all_v2",
                kind=SegmentKind.ANONYMISED_AREA,
                modalities=("CT", "MR"),
                version=_BVM_VERSION,
                meaning="what a defacing or refacing tool removed or replaced (label 1)",
                card=_bvm_card(
                    "> 0.985",
                    "the ground truth in the air in front of the head is ambiguous",
                ),
                folds=("all",),
            ),
        ),
    ),
    Release(
        name="cta-deface",
        file_name="Dataset001_DEFACE",
        url="",
        source="CTA-DEFACE (Mahmutoglu et al., Eur Radiol Exp 2024;8:111)",
        licence=_DEFACE_LICENCE,
        remarks="Soft face tissue in CT angiography. No direct address is known here: get the "
        "folder from its authors, then `dicomnode models install FOLDER`. The checkpoint has "
        "about 250 MB.",
        networks=(
            KnownNetwork(
                dataset="Dataset001_DEFACE",
                kind=SegmentKind.FACE,
                modalities=("CT",),
                version="Eur Radiol Exp 2024;8:111",
                meaning="soft face tissue that is still there (all but background)",
                card=_DEFACE_CARD,
                folds=("all",),
            ),
        ),
    ),
)


def release_named(name: str) -> Release | None:
    """By its name, or by the name of its archive, in any case."""
    wanted = name.lower()
    return next((r for r in RELEASES if wanted in (r.name, r.file_name.lower())), None)


def known_network(dataset: str) -> tuple[Release, KnownNetwork] | None:
    """What is known of the network in a folder `DatasetNNN_name`."""
    for release in RELEASES:
        for network in release.networks:
            if network.dataset == dataset:
                return release, network
    return None
