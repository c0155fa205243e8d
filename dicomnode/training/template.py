"""The head template and the masks on it: what the files are called, and where to get them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dicomnode.errors import DicomnodeError

TEMPLATE_NAME = "avg152T1.nii.gz"
# Masks that real tools use, on the template's grid (0 = remove): no training knows their shapes.
TEMPLATE_MASKS = {
    "pydeface_mask": "pydeface_facemask.nii.gz",
    "mni_face_and_ears": "mniMask_pydeface_plus_ears.nii.gz",
}
# None of these is a person's head, wherever they lie.
TEMPLATE_FILES = frozenset({TEMPLATE_NAME, "avg152T1mask.nii.gz", *TEMPLATE_MASKS.values()})
FOLDER_NAME = "templates_masks"
_NIIVUE = "github.com/niivue/deface"
_ORIGIN = {
    TEMPLATE_NAME: _NIIVUE,
    "mniMask_pydeface_plus_ears.nii.gz": _NIIVUE,
    "pydeface_facemask.nii.gz": "github.com/poldracklab/pydeface, pydeface/data/facemask.nii.gz",
}


def template_folder(sources: Sequence[Path], given: Path | None, *, masks: bool) -> Path:
    """Where the template lies: in the folder `given`, else among the sources.

    `masks`: whether those of the tools are needed too. Raises `DicomnodeError` where a file is
    missing.
    """
    places = [given] if given else sources
    folders = [folder for place in places for folder in (place, place / FOLDER_NAME)]
    found = next((folder for folder in folders if (folder / TEMPLATE_NAME).is_file()), None)
    needed = (TEMPLATE_NAME, *(TEMPLATE_MASKS.values() if masks else ()))
    missing = [name for name in needed if found is None or not (found / name).is_file()]
    if found is None or missing:
        where = given or found or "the sources"
        what = "; ".join(f"{name} (from {_ORIGIN[name]})" for name in missing)
        without = ", or make no cases: --cases 0" if TEMPLATE_NAME not in missing else ""
        raise DicomnodeError(
            f"files of the head template are not in {where}: {what}. Put them into one folder and "
            f"name it with --template{without}; docs/models.md says more"
        )
    return found
