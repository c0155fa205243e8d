"""The nouns of the project, as values.

Nothing here knows the network, the database or an array library. Times are aware and in UTC,
volumes are in millilitres, digests are lower-case hexadecimal SHA-256.
"""

from __future__ import annotations

from dicomnode.domain.as_text import as_json as as_json
from dicomnode.domain.defacing import OPEN_COPIES as OPEN_COPIES
from dicomnode.domain.defacing import CopyOrder as CopyOrder
from dicomnode.domain.defacing import CopySeries as CopySeries
from dicomnode.domain.defacing import CopyState as CopyState
from dicomnode.domain.defacing import CopyWay as CopyWay
from dicomnode.domain.defacing import DefacingProof as DefacingProof
from dicomnode.domain.defacing import SeriesCopy as SeriesCopy
from dicomnode.domain.defacing import VolumeCopy as VolumeCopy
from dicomnode.domain.evidence import Acquisition as Acquisition
from dicomnode.domain.evidence import Evidence as Evidence
from dicomnode.domain.evidence import FacePart as FacePart
from dicomnode.domain.evidence import FaceSurface as FaceSurface
from dicomnode.domain.evidence import HeaderClaims as HeaderClaims
from dicomnode.domain.evidence import ModelIdentity as ModelIdentity
from dicomnode.domain.evidence import SegmentKind as SegmentKind
from dicomnode.domain.evidence import Subject as Subject
from dicomnode.domain.evidence import WantedDigest as WantedDigest
from dicomnode.domain.evidence import subject_of as subject_of
from dicomnode.domain.examination import Examination as Examination
from dicomnode.domain.examination import ExaminedVolume as ExaminedVolume
from dicomnode.domain.examination import Picture as Picture
from dicomnode.domain.examination import SegmentationFile as SegmentationFile
from dicomnode.domain.examination import Verdict as Verdict
from dicomnode.domain.examination import VerdictKind as VerdictKind
from dicomnode.domain.examination import View as View
from dicomnode.domain.examination import worst_verdict as worst_verdict
from dicomnode.domain.gate import OPEN_DELIVERIES as OPEN_DELIVERIES
from dicomnode.domain.gate import DeliveryState as DeliveryState
from dicomnode.domain.gate import GateDecision as GateDecision
from dicomnode.domain.gate import GateOutcome as GateOutcome
from dicomnode.domain.gate import Role as Role
from dicomnode.domain.series import InstanceHeader as InstanceHeader
from dicomnode.domain.series import Refusal as Refusal
from dicomnode.domain.series import RefusalCode as RefusalCode
from dicomnode.domain.series import Revision as Revision
from dicomnode.domain.series import SetAside as SetAside
from dicomnode.domain.series import SizeHints as SizeHints
from dicomnode.domain.series import StoredInstance as StoredInstance
from dicomnode.domain.series import revision_digest as revision_digest
