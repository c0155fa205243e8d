"""TLS contexts after BCP 195 (RFC 9325; PS3.15 B.9 and B.10): TLS 1.2 with forward secrecy and AEAD
suites only, TLS 1.3, no compression and no renegotiation.

Nothing here names a key's content: errors say which file, and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dicomnode.config_tls import TLSClientSettings, TLSServerSettings
from dicomnode.errors import ConfigurationError

LOGGER = logging.getLogger("dicomnode.tls")

# Of TLS 1.2, PS3.15 B.10 lists these with RSA; with ECDSA certificates they are as good.
_SUITES = "ECDHE+AESGCM:DHE+aRSA+AESGCM"
SYSTEM_AUTHORITIES = TLSClientSettings()


def server_context(settings: TLSServerSettings, section: str) -> ssl.SSLContext:
    """Raises `ConfigurationError` naming the key of `section` whose file can't be used."""
    context = _profile(ssl.PROTOCOL_TLS_SERVER)
    _show(context, settings.certificate_file, settings.key_file, section)
    if settings.client_ca_file is not None:
        _trust(context, settings.client_ca_file, f"{section}.client_ca_file")
        required = settings.require_client_certificate
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def client_context(settings: TLSClientSettings, section: str) -> ssl.SSLContext:
    """The peer has to show a certificate for its name. Raises `ConfigurationError`."""
    context = _profile(ssl.PROTOCOL_TLS_CLIENT)
    if settings.ca_file is None:
        context.load_default_certs()
    else:
        _trust(context, settings.ca_file, f"{section}.ca_file")
    if settings.certificate_file is not None:
        _show(context, settings.certificate_file, settings.key_file, section)
    return context


class ServerTLS:
    """The context of a listener; files that are renewed count from the next connection on."""

    def __init__(self, settings: TLSServerSettings, section: str) -> None:
        self._settings = settings
        self._section = section
        self._seen = self._stamps()
        self._context = server_context(settings, section)

    def context(self) -> ssl.SSLContext:
        """Never raises: files that can't be used, or don't belong together yet, change nothing."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._context = server_context(self._settings, self._section)
                LOGGER.info("certificate renewed", extra={"section": self._section})
            except ConfigurationError as error:
                LOGGER.error("the certificate stays as it was: %s", error)
        return self._context

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        files = (
            self._settings.certificate_file,
            self._settings.key_file,
            self._settings.client_ca_file,
        )
        return tuple(_stamp(file) for file in files if file is not None)


@dataclass(frozen=True)
class PeerCertificate:
    """What a validated certificate says of whoever showed it, as `ae_certificates` names it."""

    names: frozenset[str]

    def is_any_of(self, wanted: Collection[str]) -> bool:
        return any(_normal(name) in self.names for name in wanted)


def peer_certificate(connection: object) -> PeerCertificate | None:
    """None without TLS, or where the peer showed none; one that is not trusted never comes here."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    try:
        encoded = connection.getpeercert(binary_form=True)
        parsed: Any = connection.getpeercert()
    except (OSError, ValueError):  # it is closed already
        return None
    if not encoded or not parsed:
        return None
    subject = (pair for part in parsed.get("subject", ()) for pair in part)
    names = [f"cn:{value}" for kind, value in subject if kind == "commonName"]
    names += [f"san:{value}" for _, value in parsed.get("subjectAltName", ())]
    names.append(f"sha256:{hashlib.sha256(encoded).hexdigest()}")
    return PeerCertificate(frozenset(map(_normal, names)))


def certificate_ends(file: Path) -> datetime:
    """When the first certificate in a PEM file expires. Raises `ConfigurationError`."""
    from cryptography import x509  # a receiver has no need of it

    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{file}: no certificate in PEM form") from None
    return found.not_valid_after_utc


def shown_until(
    host: str, port: int, settings: TLSClientSettings, section: str, seconds: float = 10.0
) -> datetime:
    """When the peer's certificate expires; raises `OSError` where it shows none that we trust."""
    context = client_context(settings, section)
    with (
        socket.create_connection((host, port), seconds) as plain,
        context.wrap_socket(plain, server_hostname=settings.server_name or host) as connection,
    ):
        parsed = connection.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(parsed["notAfter"])), UTC)


def shows(host: str, port: int, certificate_file: Path, seconds: float = 5.0) -> bool:
    """Whether who answers there shows this certificate: the node itself, trusted or not.

    TLS 1.3 only, in which a server shows its own before it asks for ours.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        ours = ssl.PEM_cert_to_DER_cert(_first_certificate(certificate_file))
        with (
            socket.create_connection((host, port), seconds) as plain,
            context.wrap_socket(plain) as connection,
        ):
            return connection.getpeercert(binary_form=True) == ours
    except (OSError, ValueError):
        return False


def _first_certificate(file: Path) -> str:
    text = file.read_text("ascii")
    begin, end = text.index(ssl.PEM_HEADER), text.index(ssl.PEM_FOOTER)
    return text[begin : end + len(ssl.PEM_FOOTER)]


def _profile(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # The certificate of one peer may be trusted, as an authority is: DICOM sites have many such.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None, section: str) -> None:
    def no_password() -> str:
        raise ConfigurationError(f"{section}: the key has a password: write it without one")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{section}.certificate_file: {certificate} and {key or 'the key in it'} can't be "
            f"used: {error.reason or 'no certificate and key in PEM form'}"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{section}: {certificate}, {key or 'with its key'}: {error.strerror}"
        ) from None


def _trust(context: ssl.SSLContext, authorities: Path, key: str) -> None:
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        reason = error.reason or "no certificate in PEM form"
        raise ConfigurationError(f"{key}: {authorities} can't be used: {reason}") from None
    except OSError as error:
        raise ConfigurationError(f"{key}: {authorities}: {error.strerror}") from None


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _normal(name: str) -> str:
    kind, _, value = name.partition(":")
    return f"{kind}:{value.replace(':', '') if kind == 'sha256' else value}".lower()
