"""`pretrain_data.json`, as nnssl reads it (`nnssl/data/raw_dataset.py`: `Collection.from_dict`).

    collection > datasets > subjects > sessions > images > associated_masks

Polarity: `anatomy_mask` 1 = anatomy, where patches are drawn; `anonymization_mask` 1 = anonymised,
left out of the loss. nnssl's reader wants these keys and no others in an image, both masks in
`associated_masks`, `str(dataset_index)` as the key of a data set, and names that are unique in
their session even without suffix, since its preprocessed files are named by them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dicomnode.errors import ConfigurationError
from dicomnode.masks.files import Made, atomically
from dicomnode.masks.find import Place, fit, stem_of

FILE_NAME = "pretrain_data.json"
_NAME = re.compile(r"Dataset(\d{3})_[\w.-]+")
# nnssl puts the values of these in the place of `$nnssl_raw` at the beginning of a path.
_ROOTS = ("nnssl_raw", "nnssl_preprocessed")


def collection_name(name: str | None, out: Path, folder: Path) -> str:
    """`name`, else that of `out` where nnssl would take it, else one made of the data set's.

    Raises `ConfigurationError` for a name that nnssl doesn't take.
    """
    if name is None:
        found = out.absolute().name
        return found if _NAME.fullmatch(found) else f"Dataset001_{fit(folder.absolute().name)}"
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"--name {name}: nnssl names collections like Dataset123_mine")
    return name


def collection(name: str, images: Iterable[tuple[Place, Made]]) -> dict[str, Any]:
    """The whole document; every image with both masks, in the order given."""
    number = _NAME.fullmatch(name)
    document: dict[str, Any] = {
        "collection_index": int(number[1]) if number else 1,
        "collection_name": name,
        "datasets": {},
    }
    used: set[tuple[Place, str]] = set()
    for place, made in images:
        session = _session(document["datasets"], place)
        unique = _unique(place, made.name, used)
        session["images"].append(_image(made, unique))
    return document


def write_collection(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=4, ensure_ascii=False) + "\n"
    atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _session(datasets: dict[str, Any], place: Place) -> dict[str, Any]:
    dataset = datasets.setdefault(
        place.dataset,
        {
            "dataset_index": place.dataset,
            "name": place.dataset,
            "dataset_info": {},
            "subjects": {},
        },
    )
    subject = dataset["subjects"].setdefault(
        place.subject, {"subject_id": place.subject, "subject_info": {}, "sessions": {}}
    )
    session: dict[str, Any] = subject["sessions"].setdefault(
        place.session, {"session_id": place.session, "session_info": {}, "images": []}
    )
    return session


def _unique(place: Place, name: str, used: set[tuple[Place, str]]) -> str:
    stem, number = stem_of(Path(name)), 1
    suffix = name[len(stem) :]
    while (place, stem if number == 1 else f"{stem}-{number}") in used:
        number += 1
    chosen = stem if number == 1 else f"{stem}-{number}"
    used.add((place, chosen))
    return f"{chosen}{suffix}"


def _image(made: Made, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "image_path": portable(made.image),
        "modality": made.modality,
        "image_info": {
            "anatomy_ml": made.anatomy_ml,
            "anonymised_ml": made.anonymised_ml,
        },
        "associated_masks": {
            "anonymization_mask": portable(made.anonymization_mask),
            "anatomy_mask": portable(made.anatomy_mask),
        },
    }


def portable(path: str) -> str:
    """Below nnssl's own folders a path begins with their variable, as nnssl itself writes it."""
    for variable in _ROOTS:
        root = os.environ.get(variable, "").rstrip("/")
        if root and path.startswith(f"{root}/"):
            return f"${variable}{path[len(root) :]}"
    return path
