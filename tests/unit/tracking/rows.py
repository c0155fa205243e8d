"""Values for the tracking tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicomnode.domain import (
    Acquisition,
    Evidence,
    Examination,
    ExaminedVolume,
    HeaderClaims,
    InstanceHeader,
    ModelIdentity,
    Picture,
    Refusal,
    RefusalCode,
    Revision,
    SegmentationFile,
    SegmentKind,
    SetAside,
    StoredInstance,
    Verdict,
    VerdictKind,
    View,
)
from dicomnode.tracking.associations import OpenedAssociation
from dicomnode.tracking.spool import object_name

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STUDY, SERIES = "1.2.826.0.1.1", "1.2.826.0.1.1.1"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def instance(
    number: int,
    seconds: float = 0.0,
    *,
    association: str = "",
    series: str = SERIES,
    study: str = STUDY,
    pixels: str = "",
) -> StoredInstance:
    uid = f"{series}.{number}"
    return StoredInstance(
        header=InstanceHeader(
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
            sop_instance_uid=uid,
            study_instance_uid=study,
            series_instance_uid=series,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality="MR",
        ),
        name=object_name(uid),
        size_bytes=1000,
        file_sha256=f"{number:064x}",
        pixel_sha256=pixels or f"{number:064x}",
        data_set_sha256=f"{number + 1:064x}",
        received_at=at(seconds),
        calling_ae_title="SCANNER",
        called_ae_title="DICOMNODE",
        peer_address="192.0.2.7",
        association_id=association,
    )


def association(name: str, seconds: float = 0.0, receiver: str = "r1") -> OpenedAssociation:
    return OpenedAssociation(name, receiver, "SCANNER", "DICOMNODE", "192.0.2.7", at(seconds))


EVIDENCE = Evidence(
    volumes_ml={SegmentKind.FOREGROUND: 4000.0, SegmentKind.ANONYMISED_AREA: 320.5},
    largest_component_ml={SegmentKind.FOREGROUND: 3990.0, SegmentKind.ANONYMISED_AREA: 300.0},
    exposed_face_ml=0.0,
    models=(ModelIdentity(SegmentKind.FOREGROUND, "foreground-starter", "1", "ab" * 32),),
    claims=HeaderClaims(deidentification_codes=("113102/DCM",)),
    field_of_view_mm=(180.0, 240.0, 240.0),
    spacing_mm=(1.0, 0.5, 0.5),
    matrix=(180, 480, 480),
    warnings=("one slice is missing",),
    acquisition=Acquisition(1.0, ("AXIAL", "ORIGINAL", "PRIMARY"), ("GR",)),
)


LOCALIZER = SetAside(
    Refusal(RefusalCode.LOCALIZER, "It is a localizer.", "ImageType", ("LOCALIZER",)), images=3
)


def segmentation(number: int = 1) -> SegmentationFile:
    kinds = (SegmentKind.FOREGROUND, SegmentKind.FACE)
    path = Path(f"results/mask{number}.dcm")
    return SegmentationFile(kinds, f"2.25.1{number}", "2.25.2", path, "cd" * 32, "ce" * 32)


def picture(number: int = 1) -> Picture:
    return Picture(View.AXIAL, True, Path(f"results/axial-{number}.png"), "ef" * 32, 640, 480)


def volume(
    kind: VerdictKind = VerdictKind.DEFACED, label: str = "", number: int = 1
) -> ExaminedVolume:
    return ExaminedVolume(
        label=label,
        images=120,
        evidence=EVIDENCE,
        verdict=Verdict(kind, "rule", 1, ("an anonymised area of 320 ml",), {"face_ml": 0.5}),
        segmentation=segmentation(number),
        pictures=(picture(number),),
    )


def examined(revision: Revision, kind: VerdictKind = VerdictKind.DEFACED) -> Examination:
    return Examination(revision.digest, (volume(kind),), software_version="0.1.0")


def refused(revision: Revision) -> Examination:
    return Examination(revision.digest, set_aside=(LOCALIZER,))


def two_echoes(revision: Revision) -> Examination:
    """Two volumes, each with its SEG; the second shows a face; and a localizer beside them."""
    echoes = (
        volume(VerdictKind.DEFACED, "EchoTime 4.92"),
        volume(VerdictKind.FACE_VISIBLE, "EchoTime 7.38", number=2),
    )
    return Examination(revision.digest, echoes, (LOCALIZER,), software_version="0.1.0")
