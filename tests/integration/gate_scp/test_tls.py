"""The gate's DICOM door over TLS: the same listener, with certificates of its own section."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnode.config import DestinationSettings, Settings
from dicomnode.delivery.store import echo
from dicomnode.errors import AssociationRejectedError
from dicomnode.gate_scp.server import serve
from dicomnode.tracking import audit
from dicomnode.tracking.database import Database
from tests.certificates import Authority
from tests.ports import free_port


def test_the_door_lets_in_whom_its_certificates_name(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    node, desk, other = (authority.issue(name) for name in ("node", "desk", "other"))
    tls = {
        "certificate_file": node.certificate,
        "key_file": node.key,
        "client_ca_file": authority.certificate,
        "require_client_certificate": True,
        "port": free_port(),
        "ae_certificates": {"DESK": ["cn:desk"]},
    }
    archive = {"name": "research", "ae_title": "A", "host": "127.0.0.1", "port": 1}
    title = {"ae_title": "RESEARCH", "project": "default", "archive": "research"}
    settings = make_settings(
        gate={"key_file": tmp_path / "key"},
        gate_ae={"enabled": True, "port": free_port(), "titles": [title], "tls": tls},
        archives=[archive],
    )
    peer = {"name": "gate", "ae_title": "RESEARCH", "host": "127.0.0.1", "port": tls["port"]}
    ready, stop = threading.Event(), threading.Event()
    door = threading.Thread(
        target=serve,
        args=(settings, lambda *_: pytest.fail("no exit"), lambda *_: ""),
        kwargs={"ready": ready.set, "stop": stop},
    )
    door.start()
    try:
        assert ready.wait(60)
        for shown, is_let_in in ((desk, True), (other, False)):
            ours = {"certificate_file": shown.certificate, "key_file": shown.key}
            trust = {"tls": {"ca_file": authority.certificate} | ours}
            gate = DestinationSettings.model_validate(peer | trust)
            if is_let_in:
                echo(gate, "DESK")
            else:
                with pytest.raises(AssociationRejectedError):
                    echo(gate, "DESK")
    finally:
        stop.set()
        door.join(60)
    database = Database(settings.database_url)
    with database.read() as connection:
        (rejected,) = audit.newest(connection, event="association rejected")
    database.close()
    assert "gate_ae.tls.ae_certificates" in rejected.detail["reason"]
