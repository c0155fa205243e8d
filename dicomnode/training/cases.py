"""Evaluation cases: whole scans, intact and defaced by known methods, with reference masks.

Each case is `NAME.nii.gz`, `NAME_labels.nii.gz` (0 background, 1 foreground but not face, 2 face,
3 anonymised, 4 air in front of it that a tool overwrote too) and an entry in `cases.json`.
Contrast, spacing, pose, field of view and the order of the axes differ from case to case.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.utils.data import Dataset

from dicomnode.training.drawn import HPL_TO_LPS, Affine, Labels, Volume
from dicomnode.training.read import read_nifti_scan, write_nifti
from dicomnode.training.sources import RAS_FROM_LPS, Progress
from dicomnode.training.synthesis import faults, labels, scanner
from dicomnode.training.synthesis.deface import METHODS, deface, replaced
from dicomnode.training.synthesis.fills import ANY_FILL, FILLS
from dicomnode.training.synthesis.generate import moved_onto, processed
from dicomnode.training.synthesis.paint import paint
from dicomnode.training.synthesis.pose import Frame, place, sampled, seen_scene
from dicomnode.training.synthesis.scene import Chance, Scene, Tensor
from dicomnode.training.synthesis.subject import OnDevice, Subject, mapped
from dicomnode.training.template import TEMPLATE_MASKS
from dicomnode.training.workers import cores, in_order

SPACING_MM = (2.0, 2.0, 2.0)  # of the scans that cases are made from
CPU = torch.device("cpu")
EXTENT_MM = (300.0, 300.0, 260.0)
# Less visible face than this is none; a face of which less is left is gone.
NO_FACE_ML, GONE_SHARE, FACE_ML = 5.0, 0.10, 40.0


@dataclass(frozen=True)
class Case:
    """One case to judge.

    `state`: intact (a face is there), defaced (none is left), partial (some is left), cut_off (the
    field of view shows too little of a face to say), body (no face). `reference`: labels exist.
    """

    name: str
    person: str
    modality: str
    state: str
    method: str
    reference: bool


@dataclass(frozen=True)
class _Made:
    case: Case
    array: Volume
    labels: Labels
    affine: Affine


@dataclass(frozen=True)
class TemplateMask:
    """`keep`: 0 = remove; `from_template`: template millimetres to voxel index."""

    keep: Tensor
    from_template: Affine

    def cut(self, scene: Scene) -> Tensor:
        p = scene.points
        if p is None:
            return torch.zeros_like(scene.body)
        index = mapped(self.from_template, p.stacked())
        return sampled(self.keep[None], index)[0] < 0.5


def template_masks(folder: Path) -> dict[str, TemplateMask]:
    out = {}
    for name, file in TEMPLATE_MASKS.items():
        keep, affine = read_nifti_scan(folder / file)
        from_template = np.linalg.inv(RAS_FROM_LPS @ affine).astype(np.float64)
        out[name] = TemplateMask(torch.as_tensor(keep), from_template)
    return out


def planned(subjects: Sequence[Subject], per_person: int) -> Iterator[tuple[Subject, str]]:
    """Which scan is made into what: a third intact, the rest by every method in turn."""
    methods = [*METHODS, "reface", *TEMPLATE_MASKS]
    hard = [name for name in faults.FAULTS if name != "zeroed_background"]
    persons = sorted({s.person for s in subjects if s.kind != "defaced"})
    for number, person in enumerate(persons):
        own = [s for s in subjects if s.person == person]
        for k in range(per_person):
            intact = "none" if k % 6 == 0 else hard[(k // 6 + number) % len(hard)]
            method = intact if k % 3 == 0 else methods[(2 * k // 3) % len(methods)]
            subject = own[k % len(own)]
            if subject.has_head or method == "none" or method in faults.FAULTS:
                yield subject, method


def _frame(chance: Chance) -> Frame:
    side = chance.between(1.8, 3.0) if chance.happens(0.8) else chance.between(1.2, 1.8)
    sides = [side, side, side]
    if chance.happens(0.6):
        sides[int(chance.rng.integers(3))] = chance.between(1.2, 6.0)
    shape = [int(extent / s) for extent, s in zip(EXTENT_MM, sides, strict=True)]
    return Frame((shape[0], shape[1], shape[2]), (sides[0], sides[1], sides[2]))


class CaseMaker:
    def __init__(self, subjects: Sequence[Subject], masks: dict[str, TemplateMask]) -> None:
        self._subjects = subjects
        self._masks = masks

    def make(self, name: str, subject: Subject, method: str, seed: int) -> _Made:
        chance = Chance(seed, CPU)
        frame = _frame(chance)
        contrast_seed = int(chance.rng.integers(2**31))
        source = OnDevice(subject, CPU)
        image, is_ct = paint(source, Chance(contrast_seed, CPU))
        scene = seen_scene(source, image, is_ct, place(source, frame, chance), frame)
        scene = cropped(scene)
        before = face_ml(scene)
        scene = scanner.in_units(self._done(scene, subject, method, contrast_seed, chance), chance)
        made = labels.label_map(scene)
        anonymised = bool((made == labels.ANONYMISED).any())
        state = state_of(subject, before, face_ml(scene), anonymised)
        array, out_labels, affine = _turned(scene, made, chance)
        modality = "CT" if is_ct else "MR"
        return _Made(
            Case(name, subject.person, modality, state, method, True), array, out_labels, affine
        )

    def _done(
        self, scene: Scene, subject: Subject, method: str, contrast_seed: int, chance: Chance
    ) -> Scene:
        if method in faults.FAULTS:
            return faults.FAULTS[method](processed(scene, "none", chance), chance)
        if method in self._masks:
            scene = scanner.noisy(scanner.sliced(scene, chance), chance)
            cut = self._masks[method].cut(scene)
            return replaced(scene, cut, FILLS[chance.one_of(ANY_FILL)](scene, chance), chance)
        if method == "reface":
            others = [
                s for s in self._subjects if s.kind == subject.kind and s.person != subject.person
            ]
            if others:
                other = OnDevice(others[int(chance.rng.integers(len(others)))], CPU)
                donor = moved_onto(other, paint(other, Chance(contrast_seed, CPU))[0], scene)
                return processed(scene, "reface", chance, donor)
        if method in ("none", "reface"):
            return processed(scene, "none", chance)
        scene = scanner.noisy(scanner.sliced(scanner.shaded(scene, chance), chance), chance)
        return deface(scene, method, chance)


def face_ml(scene: Scene) -> float:
    voxel_ml = float(np.prod(scene.spacing_mm)) / 1000.0
    return float((labels.label_map(scene) == labels.FACE).sum()) * voxel_ml


def state_of(subject: Subject, before_ml: float, after_ml: float, anonymised: bool) -> str:
    if not subject.has_head or (before_ml < NO_FACE_ML and not anonymised):
        return "body"
    if anonymised:
        return "defaced" if after_ml <= GONE_SHARE * before_ml else "partial"
    return "intact" if after_ml >= FACE_ML else "cut_off"


def cropped(scene: Scene) -> Scene:
    """Only the field of view."""
    where = scene.seen.nonzero()
    box = tuple(
        slice(int(a), int(b) + 1)
        for a, b in zip(where.amin(0).tolist(), where.amax(0).tolist(), strict=True)
    )
    points = scene.points
    if points is not None:
        points = replace(points, x=points.x[box], y=points.y[box], z=points.z[box])
    return replace(
        scene,
        image=scene.image[box],
        body=scene.body[box],
        depth_mm=scene.depth_mm[box],
        seen=scene.seen[box],
        points=points,
        anonymised=scene.anonymised[box],
        ambiguous=scene.ambiguous[box],
    )


def _turned(scene: Scene, made: Tensor, chance: Chance) -> tuple[Volume, Labels, Affine]:
    """The same voxels with axes in any order and direction, in a patient who lies askew."""
    rng = chance.rng
    lean = Rotation.from_euler("xyz", rng.normal(0, 7, 3), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = lean @ HPL_TO_LPS @ np.diag(scene.spacing_mm)
    affine[:3, 3] = rng.normal(0, 60, 3)
    order = rng.permutation(3)
    array, found = scene.image.numpy().transpose(order), made.numpy().transpose(order)
    affine[:3, :3] = affine[:3, :3][:, order]
    for axis in range(3):
        if rng.random() < 0.5:
            array, found = np.flip(array, axis), np.flip(found, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return (
        cast(Volume, np.ascontiguousarray(array)),
        cast(Labels, np.ascontiguousarray(found)),
        affine,
    )


def _as_it_is(subject: Subject, out: Path) -> Case:
    """A scan that somebody really defaced: what lay there before is not known."""
    image = cast(Volume, subject.image)
    affine = np.eye(4)
    affine[:3, :3] = HPL_TO_LPS @ np.diag(subject.spacing_mm)
    write_nifti(out / f"{subject.name}.nii.gz", image, affine)
    return Case(subject.name, subject.person, subject.modality, "defaced", "real", False)


class _Written(Dataset[Case]):
    """The cases of a plan by number; getting one makes and writes it."""

    def __init__(
        self, maker: CaseMaker, plan: Sequence[tuple[Subject, str]], out: Path, seed: int
    ) -> None:
        self._maker, self._plan, self._out, self._seed = maker, plan, out, seed

    def __getitem__(self, number: int) -> Case:
        subject, method = self._plan[number]
        name = f"{number:04d}_{subject.person}_{method}"
        made = self._maker.make(name, subject, method, self._seed * 1_000_000 + number)
        write_nifti(self._out / f"{name}.nii.gz", made.array, made.affine)
        write_nifti(self._out / f"{name}_labels.nii.gz", made.labels, made.affine)
        return made.case


def write_cases(
    subjects: Sequence[Subject],
    masks: dict[str, TemplateMask],
    out: Path,
    *,
    per_person: int,
    seed: int,
    progress: Progress,
) -> None:
    """`per_person` cases of everyone among `subjects`; the same seed makes the same cases."""
    out.mkdir(parents=True, exist_ok=True)
    plan = list(planned(subjects, per_person))
    listed = [_as_it_is(s, out) for s in subjects if s.kind == "defaced"]
    written = _Written(CaseMaker(subjects, masks), plan, out, seed)
    for number, case in enumerate(in_order(written, range(len(plan)), cores())):
        progress("cases", number, len(plan))
        listed.append(case)
    text = json.dumps([asdict(case) for case in listed], indent=1)
    (out / "cases.json").write_text(text + "\n", encoding="utf-8")
    progress("cases", len(plan), len(plan))
