"""One volume: its face replaced, its files written and read again, and the proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dicomnode.config import Settings
from dicomnode.config_defacing import DefacingSettings
from dicomnode.defacing.figures import Figures, figures
from dicomnode.defacing.fill import fill_background, fill_blurred
from dicomnode.defacing.plan import Removal, plan_removal
from dicomnode.defacing.proof import changes, dice_inside, objections
from dicomnode.defacing.slices import Slices, Stored
from dicomnode.dicom.resample import mask_to_source
from dicomnode.domain import DefacingProof, SegmentKind
from dicomnode.inference.assessment import Assessment, Progress, Segmenter, assess, ignore, segment

# Writes the new stored values, by what was found before, and reads its own files again.
WriteAndRead = Callable[[Sequence[Stored], Assessment], Slices]


@dataclass(frozen=True)
class Defaced:
    """The region on the source slices, what was seen before and after, the proof, and figures."""

    removal: Removal
    before: Assessment
    after: Assessment
    proof: DefacingProof
    figures: Figures


def deface_slices(
    source: Slices,
    seed: int,
    write: WriteAndRead,
    networks: Sequence[Segmenter],
    settings: Settings,
    progress: Progress,
) -> Defaced:
    """`seed` is of the series: the same is filled alike. Raises `DefacingError` where a face can't
    be removed safely."""
    before = _assessed(source, networks, settings, progress)
    geometry, modality = source.volume.geometry, source.volume.modality
    removal = plan_removal(before, geometry, modality, settings.defacing)
    progress("replacing the face")
    replaced = [plane.copy() for plane in source.stored]
    _fill(replaced, source, removal, seed, settings.defacing)
    again = write(replaced, before)
    progress("proving that it is gone")
    after = _assessed(again, networks, settings, ignore)
    proof = _proof(source, again, removal, before, after, settings)
    told = figures(before, after, source, again, removal.removed)
    return Defaced(removal, before, after, proof, told)


def _assessed(
    slices: Slices, networks: Sequence[Segmenter], settings: Settings, progress: Progress
) -> Assessment:
    volume, claims = slices.volume, slices.claims
    found = segment(volume, claims, networks, settings, progress)
    progress("evidence")
    return assess(volume, found, claims, settings, acquisition=slices.acquisition)


def _fill(
    planes: list[Stored], source: Slices, removal: Removal, seed: int, settings: DefacingSettings
) -> None:
    if settings.fill == "blur":
        fill_blurred(planes, removal.removed, source)
        return
    air, is_constant = removal.air & ~source.padding, settings.fill == "constant"
    fill_background(planes, removal.removed, air, source, seed=seed, constant=is_constant)


def _proof(
    source: Slices,
    again: Slices,
    removal: Removal,
    before: Assessment,
    after: Assessment,
    settings: Settings,
) -> DefacingProof:
    """By the files, read again as a stranger would, and by everybody who can be asked."""
    found = changes(source.stored, again.stored, removal.removed, removal.brain)
    geometry = source.volume.geometry
    seen = after.masks.get(SegmentKind.ANONYMISED_AREA)
    on_slices = (
        np.zeros_like(removal.removed)
        if seen is None
        else mask_to_source(seen, after.canonical, again.volume.geometry).astype(bool)
    )
    head = mask_to_source(before.masks[SegmentKind.FOREGROUND], before.canonical, geometry)
    dice = dice_inside(removal.removed, on_slices, head.astype(bool))
    threshold = settings.verdict.face_found_probability
    return DefacingProof(
        verdict=after.verdict,
        evidence=after.evidence,
        dice=round(dice, 4),
        removed_ml=round(float(np.count_nonzero(removal.removed)) * source.voxel_ml, 1),
        brain_voxels=int(np.count_nonzero(removal.brain)),
        brain_voxels_changed=found.brain,
        other_voxels_changed=found.other,
        kept_sha256=found.kept_sha256,
        face_probability_before=before.evidence.face_probability,
        objections=objections(after.verdict, dice, found, threshold, after.evidence),
    )
