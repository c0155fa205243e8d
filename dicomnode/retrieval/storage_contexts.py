"""The presentation contexts that are proposed for C-GET (PS3.4 C.5.3).

An acceptor picks one transfer syntax of each context, before it looks at the objects; the more
contexts a SOP Class has, the less it has to decode. An association has room for 127 beside that
of C-GET (PS3.8 9.3.2.2), so the syntaxes are grouped as finely as the number of classes allows.
"""

from __future__ import annotations

from collections.abc import Collection

from pydicom import uid
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, build_role

MOST_CONTEXTS = 127

_PLAIN = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)
_OTHER_PLAIN = (uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_JPEG = (uid.JPEGLosslessSV1, uid.JPEGLossless, uid.JPEGExtended12Bit, uid.JPEGBaseline8Bit)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
_HTJ2K = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
_COMPRESSED = (*_JPEG_2000, *_JPEG, *_JPEG_LS, uid.RLELossless, *_HTJ2K)

TRANSFER_SYNTAXES = (*_PLAIN, *_OTHER_PLAIN, *_COMPRESSED)
# From fine to coarse.
_GROUPINGS: tuple[tuple[tuple[uid.UID, ...], ...], ...] = (
    (_PLAIN, *((syntax,) for syntax in (*_OTHER_PLAIN, *_COMPRESSED))),
    (_PLAIN, _OTHER_PLAIN, _JPEG, _JPEG_LS, _JPEG_2000, _HTJ2K, (uid.RLELossless,)),
    ((*_PLAIN, *_OTHER_PLAIN), _COMPRESSED),
    (TRANSFER_SYNTAXES,),
)

# For a source that names instances without their SOP Classes.
USUAL_SOP_CLASSES: tuple[str, ...] = (
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
    uid.EnhancedMRColorImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
    uid.MRSpectroscopyStorage,
    uid.PositronEmissionTomographyImageStorage,
    uid.EnhancedPETImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
    uid.NuclearMedicineImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.XRayAngiographicImageStorage,
    uid.EnhancedXAImageStorage,
    uid.XRayRadiofluoroscopicImageStorage,
    uid.XRay3DAngiographicImageStorage,
    uid.XRay3DCraniofacialImageStorage,
    uid.UltrasoundImageStorage,
    uid.UltrasoundMultiFrameImageStorage,
    uid.EnhancedUSVolumeStorage,
    uid.ParametricMapStorage,
    uid.SegmentationStorage,
    uid.SurfaceSegmentationStorage,
    uid.TractographyResultsStorage,
    uid.RawDataStorage,
    uid.RealWorldValueMappingStorage,
    uid.SpatialRegistrationStorage,
    uid.DeformableSpatialRegistrationStorage,
    uid.SpatialFiducialsStorage,
    uid.GrayscaleSoftcopyPresentationStateStorage,
    uid.ColorSoftcopyPresentationStateStorage,
    uid.PseudoColorSoftcopyPresentationStateStorage,
    uid.BlendingSoftcopyPresentationStateStorage,
    uid.BasicTextSRStorage,
    uid.EnhancedSRStorage,
    uid.ComprehensiveSRStorage,
    uid.Comprehensive3DSRStorage,
    uid.XRayRadiationDoseSRStorage,
    uid.RadiopharmaceuticalRadiationDoseSRStorage,
    uid.KeyObjectSelectionDocumentStorage,
    uid.EncapsulatedPDFStorage,
    uid.RTImageStorage,
    uid.RTDoseStorage,
    uid.RTStructureSetStorage,
    uid.RTPlanStorage,
    uid.RTIonPlanStorage,
    uid.RTBeamsTreatmentRecordStorage,
    uid.RTBrachyTreatmentRecordStorage,
    uid.RTTreatmentSummaryRecordStorage,
)


def storage_contexts(sop_classes: Collection[str]) -> list[PresentationContext]:
    """For the SOP Classes that a study is known to hold; of more than 127 the first."""
    for groups in _GROUPINGS:
        if len(sop_classes) * len(groups) <= MOST_CONTEXTS:
            break
    contexts = [build_context(uid.UID(c), list(group)) for c in sop_classes for group in groups]
    return contexts[:MOST_CONTEXTS]


def storage_roles(sop_classes: Collection[str]) -> list[SCP_SCU_RoleSelectionNegotiation]:
    """This node is the SCP of what it gets (PS3.7 D.3.3.4)."""
    return [build_role(sop_class, scp_role=True) for sop_class in sop_classes]
