"""The tables of the tracking database, as SQLAlchemy Core.

UIDs, numbers, digests and sentences; never an attribute of a patient. Times are UTC. What must be
unique is unique here, so no race between processes can break it: one row per SOP Instance UID,
one current revision, examination and verdict per series, one SEG per volume, one delivery per SEG
and destination.
"""

from __future__ import annotations

from dicomnode.tracking.schema.copied import series_copies as series_copies
from dicomnode.tracking.schema.copied import study_copies as study_copies
from dicomnode.tracking.schema.delivered import commitment_requests as commitment_requests
from dicomnode.tracking.schema.delivered import commitments as commitments
from dicomnode.tracking.schema.delivered import deliveries as deliveries
from dicomnode.tracking.schema.delivered import destinations as destinations
from dicomnode.tracking.schema.delivered import parked_deliveries as parked_deliveries
from dicomnode.tracking.schema.examined import examinations as examinations
from dicomnode.tracking.schema.examined import human_decisions as human_decisions
from dicomnode.tracking.schema.examined import refusals as refusals
from dicomnode.tracking.schema.examined import segmentations as segmentations
from dicomnode.tracking.schema.examined import verdicts as verdicts
from dicomnode.tracking.schema.examined import volumes as volumes
from dicomnode.tracking.schema.expected import announced_instances as announced_instances
from dicomnode.tracking.schema.expected import expected_counts as expected_counts
from dicomnode.tracking.schema.expected import procedure_steps as procedure_steps
from dicomnode.tracking.schema.expected import pulls as pulls
from dicomnode.tracking.schema.expected import senders as senders
from dicomnode.tracking.schema.kept import audit_events as audit_events
from dicomnode.tracking.schema.kept import audit_head as audit_head
from dicomnode.tracking.schema.kept import receipts as receipts
from dicomnode.tracking.schema.metadata import METADATA as METADATA
from dicomnode.tracking.schema.received import association_series as association_series
from dicomnode.tracking.schema.received import associations as associations
from dicomnode.tracking.schema.received import instances as instances
from dicomnode.tracking.schema.received import quarantine as quarantine
from dicomnode.tracking.schema.received import revisions as revisions
from dicomnode.tracking.schema.received import series as series
from dicomnode.tracking.schema.received import studies as studies
