"""What every accepting Application Entity of the node is: its names, its limits, its end."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence

from pynetdicom import _config as pynetdicom_config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicomnode.config import SCPSettings
from dicomnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_GRACE_SECONDS = 5.0


def accepting_entity(settings: SCPSettings) -> ApplicationEntity:
    """C-ECHO, and C-STORE for every storage, private or unknown SOP class and syntax.

    `UNRESTRICTED_STORAGE_SERVICE` is pynetdicom's documented way to that: the first transfer
    syntax proposed is accepted.
    """
    pynetdicom_config.UNRESTRICTED_STORAGE_SERVICE = True
    _silence_libraries()
    entity = ApplicationEntity(settings.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = settings.maximum_pdu_bytes
    entity.acse_timeout = settings.acse_timeout_seconds
    entity.dimse_timeout = settings.dimse_timeout_seconds
    entity.network_timeout = settings.network_timeout_seconds
    # The limits of `admission` come first; this one must never decide.
    entity.maximum_associations = settings.maximum_associations * 100
    entity.add_supported_context(Verification)
    return entity


def finish_associations(entities: Sequence[ApplicationEntity]) -> None:
    """Let senders finish what they are at, for a moment; then abort."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(entity.active_associations for entity in entities) and time.monotonic() < deadline:
        time.sleep(0.05)
    for entity in entities:
        for association in entity.active_associations:
            association.abort()


def _silence_libraries() -> None:
    """Their logging handlers cost time for every PDU; their warnings quote what peers sent."""
    pynetdicom_config.LOG_HANDLER_LEVEL = "none"
    pynetdicom_config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom_config.LOG_RESPONSE_IDENTIFIERS = False
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
