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
way. Without it a case has millilitres and a verdict only. `.nii` will do too. The person is what
NAME says before `__`, or `sub-...` of BIDS, else NAME: cases of one person are never counted as
independent.
"""

from __future__ import annotations

import json
from pathlib import Path

from dicomnode.errors import DicomnodeError
from dicomnode.training.cases import Case

LIST_NAME = "cases.json"
STATES = ("intact", "defaced", "partial", "cut_off", "body")
SUFFIXES = (".nii.gz", ".nii")
LABELS = "_labels"


def read_cases(folder: Path) -> list[Case]:
    """The cases in `folder`; `image_path` and `labels_path` say where the files of each are.

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


def image_path(folder: Path, case: Case) -> Path:
    return _existing(folder, case.name)


def labels_path(folder: Path, case: Case) -> Path:
    return _existing(folder, case.name + LABELS)


def _existing(folder: Path, name: str) -> Path:
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


def not_cases(folder: Path) -> list[str]:
    """Images in a folder of the user's own that no state claims, such as `Defaced/a.nii.gz`."""
    if (folder / LIST_NAME).is_file():
        return []
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if _is_image(path)]
    return [name.as_posix() for name in names if name.parts[0] not in STATES]


def _is_image(path: Path) -> bool:
    return path.is_file() and path.name.endswith(SUFFIXES) and not _stem(path).endswith(LABELS)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _found(folder: Path) -> list[Case]:
    return [
        _case(folder, state, path)
        for state in STATES
        for path in sorted((folder / state).rglob("*"))
        if _is_image(path)
    ]


def _case(folder: Path, state: str, path: Path) -> Case:
    stem = _stem(path)
    between = path.parent.relative_to(folder / state).parts
    return Case(
        name=path.with_name(stem).relative_to(folder).as_posix(),
        person=person_of(stem),
        modality="",
        state=state,
        method="/".join(between) or "none",
        reference=_existing(path.parent, stem + LABELS).is_file(),
    )


def person_of(stem: str) -> str:
    """`sub-01` of `sub-01_ses-2_T1w`, `anna` of `anna__quickshear`, else the whole stem."""
    return stem.split("_")[0] if stem.startswith("sub-") else stem.split("__")[0]
