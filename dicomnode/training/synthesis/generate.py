"""One training sample from a subject: paint, place, scan, deface, and label."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dicomnode.training.synthesis import faults, scanner
from dicomnode.training.synthesis.deface import METHOD_SHARES, deface, reface
from dicomnode.training.synthesis.labels import label_map
from dicomnode.training.synthesis.paint import paint
from dicomnode.training.synthesis.pose import Frame, place, sampled, seen_scene
from dicomnode.training.synthesis.scene import Chance, Scene, Tensor
from dicomnode.training.synthesis.subject import OnDevice, mapped

DEFACED_SHARE = 0.6
# Share of the samples per kind of subject.
KIND_SHARES = {"head": 0.46, "drawn_head": 0.34, "body": 0.10, "drawn_body": 0.10}


@dataclass(frozen=True)
class Sample:
    """`image`: float32, normalised as by nnU-Net; `labels`: uint8; axes (head, posterior, left)."""

    image: Tensor
    labels: Tensor
    method: str


@dataclass(frozen=True)
class Donor:
    """Another head, on the grid of the scene that gets its face."""

    image: Tensor
    body: Tensor


class Generator:
    """Draws samples from subjects; the same seed draws the same sample.

    `without`: methods of defacing that are not used.
    """

    def __init__(
        self, subjects: Sequence[OnDevice], frame: Frame, without: Collection[str] = ()
    ) -> None:
        self._shares = {name: share for name, share in METHOD_SHARES.items() if name not in without}
        self._by_kind = {
            kind: _by_person([s for s in subjects if s.subject.kind == kind])
            for kind in KIND_SHARES
        }
        self._frame = frame

    def draw(self, seed: int) -> Sample:
        subject_rng = np.random.default_rng(seed)
        subject = self._pick(subject_rng)
        chance = Chance(seed, subject.device)
        contrast_seed = int(chance.rng.integers(2**31))
        scene = self._scene(subject, contrast_seed, chance)
        method = "none"
        if subject.subject.has_head and chance.happens(DEFACED_SHARE):
            method = chance.one_of(self._shares)
        donor = None
        if method == "reface":
            donor = self._donor(subject, contrast_seed, scene, chance)
            method = method if donor is not None else "face_box"
        return finished(processed(scene, method, chance, donor), method, chance)

    def _pick(self, rng: np.random.Generator) -> OnDevice:
        """A kind, then a person, then one of that person's scans: no one counts twice."""
        kinds = [kind for kind in KIND_SHARES if self._by_kind[kind]]
        shares = np.array([KIND_SHARES[kind] for kind in kinds])
        persons = self._by_kind[kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]]
        scans = persons[int(rng.integers(len(persons)))]
        return scans[int(rng.integers(len(scans)))]

    def _scene(self, subject: OnDevice, contrast_seed: int, chance: Chance) -> Scene:
        image, is_ct = paint(subject, Chance(contrast_seed, subject.device))
        placement = place(subject, self._frame, chance)
        return seen_scene(subject, image, is_ct, placement, self._frame)

    def _donor(
        self, subject: OnDevice, contrast_seed: int, scene: Scene, chance: Chance
    ) -> Donor | None:
        """Somebody else in the same contrast; None where there is nobody else."""
        persons = self._by_kind[subject.subject.kind]
        others = [scans for scans in persons if scans[0].subject.person != subject.subject.person]
        if not others or scene.points is None:
            return None
        other = others[int(chance.rng.integers(len(others)))][0]
        return moved_onto(other, paint(other, Chance(contrast_seed, subject.device))[0], scene)


def moved_onto(other: OnDevice, painted: Tensor, scene: Scene) -> Donor | None:
    """Another head where this one lies, by the template coordinates of both."""
    matrix, points = other.subject.to_template, scene.points
    if matrix is None or points is None:
        return None
    index = mapped(np.linalg.inv(matrix).astype(np.float64), points.stacked())
    image, depth = sampled(torch.stack([painted, other.depth_mm]), index)
    return Donor(image, depth > 0)


def processed(scene: Scene, method: str, chance: Chance, donor: Donor | None = None) -> Scene:
    """Tools cut what the scanner made, or what somebody resampled later."""
    scene = faults.sometimes(scene, faults.BEFORE_DEFACING, chance)
    scene = scanner.shaded(scene, chance)
    sliced_first = chance.happens(0.7)
    if sliced_first:
        scene = scanner.sliced(scene, chance)
    scene = scanner.noisy(scene, chance)
    scene = faults.sometimes(scene, faults.BACKGROUND, chance)
    if method == "reface" and donor is not None:
        scene = reface(scene, donor.image, donor.body, chance)
    elif method != "none":
        scene = deface(scene, method, chance)
    if not sliced_first:
        scene = scanner.sliced(scene, chance)
    return faults.sometimes(scene, faults.AFTER_DEFACING, chance)


def _by_person(subjects: Sequence[OnDevice]) -> list[list[OnDevice]]:
    persons = sorted({s.subject.person for s in subjects})
    return [[s for s in subjects if s.subject.person == person] for person in persons]


def finished(scene: Scene, method: str, chance: Chance) -> Sample:
    """Normalised over the field of view, as nnU-Net does; zero around it, as it pads."""
    scene = scanner.in_units(scene, chance)
    values = scene.image[scene.seen]
    mean, spread = float(values.mean()), max(float(values.std()), 1e-6)
    if chance.happens(0.3):  # the rest of a larger scan shifts both
        mean += spread * chance.between(-0.3, 0.3)
        spread *= chance.between(0.75, 1.35)
    image = ((scene.image - mean) / spread).where(scene.seen, torch.zeros_like(scene.image))
    labels = label_map(replace(scene, image=image)).where(
        scene.seen, torch.zeros((), dtype=torch.uint8, device=scene.device)
    )
    return Sample(image, labels, method if bool((labels == 3).any()) else "none")
