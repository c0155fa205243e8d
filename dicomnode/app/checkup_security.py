"""What `dicomnode check` says of secrets, of folders that hold patients' data, and certificates."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from dicomnode.app.findings import Finding
from dicomnode.config import DestinationSettings, Settings, SourceSettings
from dicomnode.config_tls import TLSClientSettings
from dicomnode.errors import DicomnodeError
from dicomnode.tls import SYSTEM_AUTHORITIES, certificate_ends, shown_until

_SOON = timedelta(days=30)
# Files of these keys are for everybody; a certificate's file without a key_file holds the key too.
_PUBLIC = ("ca_file", "client_ca_file")
_HTTPS_PORT = 443


def permissions(settings: Settings) -> Iterator[Finding]:
    """A folder or a secret that other accounts of this machine can read, and missing secrets."""
    folder = settings.node.data_folder
    if folder.exists() and (mode := _mode(folder)) & 0o007:
        advice = f"{folder} has mode {mode:04o}: others can look at patients' data: chmod 700"
        yield Finding("data folder", False, advice)
    secrets = tuple(secret_files(settings))
    wrong = [finding for key, file in secrets if (finding := _wrong(key, file)) is not None]
    yield from wrong
    if secrets and not wrong:
        yield Finding("secrets", True, f"{len(secrets)} files, closed to other accounts")


def secret_files(section: BaseModel, name: str = "") -> Iterator[tuple[str, Path]]:
    """Every file of a secret that the configuration names, with the key that names it."""
    own_key = getattr(section, "key_file", None)
    for key in type(section).model_fields:
        where, value = f"{name}.{key}" if name else key, getattr(section, key)
        if isinstance(value, BaseModel):
            yield from secret_files(value, where)
        elif isinstance(value, tuple | dict):
            yield from _secrets_of_items(value, where)
        elif isinstance(value, Path) and _is_secret(key, has_key=own_key is not None):
            yield where, value


def _is_secret(key: str, *, has_key: bool) -> bool:
    if key == "certificate_file":
        return not has_key
    return key.endswith("_file") and key not in _PUBLIC


def _secrets_of_items(
    items: tuple[Any, ...] | dict[str, Any], where: str
) -> Iterator[tuple[str, Path]]:
    named = items.items() if isinstance(items, dict) else enumerate(items)
    for key, item in named:
        if isinstance(item, BaseModel):
            yield from secret_files(item, f"{where}.{getattr(item, 'name', key)}")


def _wrong(key: str, file: Path) -> Finding | None:
    """A group may read a secret: that is how sites share the key of a machine."""
    try:
        mode = _mode(file)
        with file.open("rb"):
            pass
    except OSError as error:
        return Finding(key, False, f"{file} can't be read: {error.strerror}")
    if mode & 0o027:
        advice = f"{file} has mode {mode:04o}: chmod 600, and whoever read it may have the secret"
        return Finding(key, False, advice)
    return None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def certificates(settings: Settings) -> Iterator[Finding]:
    """When they expire: ours, and those that peers with TLS show."""
    for section, file in _shown_by_us(settings):
        try:
            yield _expiry(f"certificate of {section}", certificate_ends(file))
        except DicomnodeError as error:
            yield Finding(f"certificate of {section}", False, str(error))
    for subject, (host, port), tls in _peers(settings):
        subject = f"certificate of {subject}"
        try:
            ends = shown_until(host, port, tls, subject)
        except (DicomnodeError, OSError) as error:
            yield Finding(subject, False, f"{host}:{port} shows none that is trusted: {error}")
        else:
            yield _expiry(subject, ends)


def _expiry(subject: str, ends: datetime) -> Finding:
    left, day = ends - datetime.now(UTC), f"{ends:%Y-%m-%d}"
    if left <= timedelta(0):
        return Finding(subject, False, f"expired on {day}: renew it")
    sentence = f"valid until {day}, {left.days} days"
    return Finding(subject, True, sentence, is_warning=left < _SOON)


def _shown_by_us(settings: Settings) -> Iterator[tuple[str, Path]]:
    servers = {
        "scp.tls": settings.scp.tls,
        "gate_ae.tls": settings.gate_ae.tls if settings.gate_ae.enabled else None,
        "web.tls": settings.web.tls if settings.web.enabled else None,
    }
    yield from ((key, tls.certificate_file) for key, tls in servers.items() if tls is not None)
    for subject, peer in _configured(settings):
        if peer.tls is not None and peer.tls.certificate_file is not None:
            yield f"ours for {subject}", peer.tls.certificate_file
    if (file := settings.audit_messages.certificate_file) is not None:
        yield "audit_messages", file


def _peers(settings: Settings) -> Iterator[tuple[str, tuple[str, int], TLSClientSettings]]:
    for subject, peer in _configured(settings):
        if isinstance(peer, SourceSettings) and peer.retrieve == "wado":
            url = urlsplit(peer.url)
            if url.scheme == "https":
                address = (url.hostname or "", url.port or _HTTPS_PORT)
                yield subject, address, peer.tls or SYSTEM_AUTHORITIES
        elif peer.tls is not None:
            yield subject, (peer.host, peer.port), peer.tls


def _configured(settings: Settings) -> Iterator[tuple[str, DestinationSettings | SourceSettings]]:
    yield from ((f"destination {peer.name}", peer) for peer in settings.destinations)
    yield from ((f"archive {peer.name}", peer) for peer in settings.archives)
    yield from ((f"source {peer.name}", peer) for peer in settings.sources)
