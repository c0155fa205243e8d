"""The file that nnssl reads, key by key (`Collection.from_dict` of nnssl, 2025-10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.errors import ConfigurationError
from dicomnode.masks.files import Made
from dicomnode.masks.find import Place
from dicomnode.masks.nnssl import collection, collection_name, portable

ONE, TWO = Place("ds1", "sub-01", "ses-1"), Place("ds1", "sub-01", "ses-2")


def _made(name: str) -> Made:
    return Made(name, f"/d/{name}", f"/o/{name}_a", f"/o/{name}_x", "T1w", 3000.0, 12.5)


def test_the_document_has_the_keys_that_nnssl_reads_and_no_others() -> None:
    document = collection("Dataset042_mine", [(ONE, _made("a.nii.gz"))])
    assert document == {
        "collection_index": 42,
        "collection_name": "Dataset042_mine",
        "datasets": {
            "ds1": {
                "dataset_index": "ds1",
                "name": "ds1",
                "dataset_info": {},
                "subjects": {
                    "sub-01": {
                        "subject_id": "sub-01",
                        "subject_info": {},
                        "sessions": {
                            "ses-1": {
                                "session_id": "ses-1",
                                "session_info": {},
                                "images": [
                                    {
                                        "name": "a.nii.gz",
                                        "image_path": "/d/a.nii.gz",
                                        "modality": "T1w",
                                        "image_info": {
                                            "anatomy_ml": 3000.0,
                                            "anonymised_ml": 12.5,
                                        },
                                        "associated_masks": {
                                            "anonymization_mask": "/o/a.nii.gz_x",
                                            "anatomy_mask": "/o/a.nii.gz_a",
                                        },
                                    }
                                ],
                            }
                        },
                    }
                },
            }
        },
    }


def test_images_of_one_session_never_share_a_name() -> None:
    """nnssl drops the suffix and names its files by the rest."""
    names = ["x.nii.gz", "x.nii", "x.nrrd", "x-2.nii.gz"]
    document = collection("Dataset001_a", [(ONE, _made(name)) for name in names])
    (session,) = document["datasets"]["ds1"]["subjects"]["sub-01"]["sessions"].values()
    stems = [image["name"].split(".")[0] for image in session["images"]]
    assert len(set(stems)) == len(names)
    assert stems[0] == "x"


def test_sessions_and_subjects_keep_their_images() -> None:
    document = collection("Dataset001_a", [(ONE, _made("a.nii")), (TWO, _made("a.nii"))])
    sessions = document["datasets"]["ds1"]["subjects"]["sub-01"]["sessions"]
    assert {name: len(s["images"]) for name, s in sessions.items()} == {"ses-1": 1, "ses-2": 1}


def test_the_collection_is_named_as_nnssl_wants_it() -> None:
    assert collection_name(None, Path("/raw/Dataset007_x"), Path("/d")) == "Dataset007_x"
    assert collection_name(None, Path("/o"), Path("/my data")) == "Dataset001_my_data"
    assert collection_name("Dataset009_y", Path("/o"), Path("/d")) == "Dataset009_y"
    with pytest.raises(ConfigurationError, match="Dataset123_mine"):
        collection_name("mine", Path("/o"), Path("/d"))


def test_paths_in_the_folders_of_nnssl_stay_valid_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("nnssl_raw", "/data/raw/")
    assert portable("/data/raw/Dataset001_a/x.nii.gz") == "$nnssl_raw/Dataset001_a/x.nii.gz"
    assert portable("/data/rawer/x.nii.gz") == "/data/rawer/x.nii.gz"
