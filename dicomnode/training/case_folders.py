"""Which cases a folder holds: as `prepare` lists them, or a folder of the user's own.

With `cases.json` its entries count (see `dicomnode.training.cases`). Without it the folders say
what each scan is; METHOD may be left out:

    FOLDER/intact/NAME.nii.gz             a head with its face
    FOLDER/defaced/METHOD/NAME.nii.gz     nothing of the face is left
    FOLDER/partial/METHOD/NAME.nii.gz     a part of the face was left
    FOLDER/cut_off/NAME.nii.gz            the field of view shows too little of a face to say
    FOLDER/body/NAME.nii.gz               no face in view

and `NAME_labels.nii.gz` beside a scan, on its grid, holds its reference masks: 0 background,
1 foreground, 2 face, 3 anonymised, 4 overwritten air in front of the head, which counts neither
way. Without it a case has millilitres and a verdict only. The person is what NAME says before
`__`, or `sub-...` of BIDS, else NAME: cases of one person are never counted as independent.
"""

from __future__ import annotations

import json
from pathlib import Path

from dicomnode.errors import DicomnodeError
from dicomnode.training.cases import Case

LIST_NAME = "cases.json"
STATES = ("intact", "defaced", "partial", "cut_off", "body")
IMAGE_SUFFIX, LABELS_SUFFIX = ".nii.gz", "_labels.nii.gz"


def read_cases(folder: Path) -> list[Case]:
    """The cases in `folder`; the image of each is `folder / f"{case.name}.nii.gz"`.

    Raises `DicomnodeError` where there is none, or a list that can't be read.
    """
    listed = folder / LIST_NAME
    cases = _listed(listed) if listed.is_file() else _found(folder)
    if not cases:
        raise DicomnodeError(
            f"{folder}: no {LIST_NAME} and no {', '.join(STATES)} folder with .nii.gz in it; "
            "docs/evaluation.md says how a folder of cases looks"
        )
    for case in cases:
        if case.state not in STATES:
            raise DicomnodeError(
                f"{listed}: case {case.name} has the state {case.state!r}, not one of "
                f"{', '.join(STATES)}"
            )
    return cases


def _listed(path: Path) -> list[Case]:
    try:
        return [Case(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        raise DicomnodeError(f"{path}: not a list of cases: {error}") from None


def _found(folder: Path) -> list[Case]:
    return [
        _case(folder, state, path)
        for state in STATES
        for path in sorted((folder / state).rglob(f"*{IMAGE_SUFFIX}"))
        if not path.name.endswith(LABELS_SUFFIX)
    ]


def _case(folder: Path, state: str, path: Path) -> Case:
    stem = path.name.removesuffix(IMAGE_SUFFIX)
    between = path.parent.relative_to(folder / state).parts
    return Case(
        name=path.relative_to(folder).as_posix().removesuffix(IMAGE_SUFFIX),
        person=person_of(stem),
        modality="",
        state=state,
        method="/".join(between) or "none",
        reference=path.with_name(stem + LABELS_SUFFIX).is_file(),
    )


def person_of(stem: str) -> str:
    """`sub-01` of `sub-01_ses-2_T1w`, `anna` of `anna__quickshear`, else the whole stem."""
    return stem.split("_")[0] if stem.startswith("sub-") else stem.split("__")[0]
