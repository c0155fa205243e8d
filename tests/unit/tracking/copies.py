"""Copies without faces, as values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dicomnode.domain import CopyWay, DefacingProof, Verdict, VerdictKind, VolumeCopy
from tests.unit.tracking.rows import EVIDENCE, picture

PROOF = DefacingProof(
    verdict=Verdict(VerdictKind.DEFACED, "rule", 1, ("an anonymised area of 320 ml",)),
    evidence=EVIDENCE,
    dice=0.97,
    removed_ml=812.5,
    brain_voxels=120_000,
    brain_voxels_changed=0,
    other_voxels_changed=0,
    kept_sha256="ab" * 32,
    face_probability_before=None,
    objections=(),
)


def volume_copy(series_instance_uid: str, *objections: str, label: str = "") -> VolumeCopy:
    return VolumeCopy(
        label=label,
        way=CopyWay.DEFACED,
        series_instance_uid=series_instance_uid,
        images=3,
        paths=(Path("00001.dcm"), Path("00002.dcm"), Path("00003.dcm")),
        proof=replace(PROOF, objections=objections),
        pictures=(picture(1), picture(2)),
    )
