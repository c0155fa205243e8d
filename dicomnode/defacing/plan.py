"""From masks to what will be replaced: one volume's region, its brain, and its background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dicomnode.config_defacing import DefacingSettings
from dicomnode.defacing.brain import protected_brain
from dicomnode.defacing.ears import ear_region
from dicomnode.defacing.fill import plain_air
from dicomnode.defacing.grid import Flags
from dicomnode.defacing.region import Growth, face_pieces, removed_region
from dicomnode.dicom.geometry import SliceGeometry
from dicomnode.dicom.resample import CanonicalVolume, mask_to_source
from dicomnode.domain import SegmentKind
from dicomnode.errors import DefacingError
from dicomnode.inference.assessment import Assessment


@dataclass(frozen=True)
class Removal:
    """Masks (slice, row, column) on the source slices. `brain` and `removed` never meet."""

    removed: Flags
    brain: Flags
    air: Flags


def plan_removal(
    assessment: Assessment, geometry: SliceGeometry, modality: str, settings: DefacingSettings
) -> Removal:
    """Raises `DefacingError` where no face was found, or no brain, or a network is missing."""
    canonical, masks = assessment.canonical, assessment.masks
    missing = {SegmentKind.FACE, SegmentKind.FOREGROUND} - set(masks)
    if missing:
        raise DefacingError(
            f"no network for {', '.join(sorted(missing))} looked at this volume, so its face "
            "can't be found (dicomnode models list)"
        )
    spacing_mm, tissue = canonical.spacing_mm, masks[SegmentKind.FOREGROUND].astype(bool)
    face = face_pieces(masks[SegmentKind.FACE].astype(bool), spacing_mm)
    if not face.any():
        raise DefacingError("no face was found in this volume, so there is none to remove")
    brain = protected_brain(canonical.array, tissue, face, spacing_mm, modality)
    growth = Growth(settings.outward_mm, settings.inward_mm, settings.spare_orbits)
    removed = removed_region(face, tissue, brain, spacing_mm, growth)
    if not removed.any():
        raise DefacingError("all of the face that was found lies in the brain: nothing is removed")
    if settings.ears == "remove":
        removed = removed | (ear_region(tissue, face, spacing_mm) & ~brain)
    air = plain_air(canonical.array, tissue, spacing_mm, modality)
    on_slices = _OnSlices(canonical, geometry)
    kept = on_slices(brain)
    return Removal(on_slices(removed) & ~kept, kept, on_slices(air))


@dataclass(frozen=True)
class _OnSlices:
    canonical: CanonicalVolume
    geometry: SliceGeometry

    def __call__(self, mask: Flags) -> Flags:
        return mask_to_source(mask.astype(np.uint8), self.canonical, self.geometry).astype(bool)
