"""`dicomnode check`: does this site work, before a series depends on it?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from dicomnode.app.checkup_security import certificates, permissions
from dicomnode.app.findings import Finding as Finding
from dicomnode.config import DestinationSettings, Settings, WebSettings, token_in
from dicomnode.config_tls import DicomTLSSettings
from dicomnode.delivery.store import echo
from dicomnode.dicom.decoder import Decoder
from dicomnode.errors import AssociationRejectedError, DicomnodeError, ModelError, PortInUseError
from dicomnode.inference.examiner import installed_examiner
from dicomnode.inference.models import verify
from dicomnode.intake.listening import listen
from dicomnode.notices.teller import channels_of
from dicomnode.retrieval.probe import probe
from dicomnode.tls import shows
from dicomnode.tracking import accounts
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import used_percent_of
from dicomnode.web.access import HEALTH_PATH, read_token

# Source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21).
_CALLED_AE_TITLE_NOT_RECOGNISED = (1, 7)


Check = Callable[[Settings], Iterator[Finding]]


def examine_site(settings: Settings) -> tuple[Finding, ...]:
    """Run every check; one that fails never hides the others."""
    return tuple(finding for check in CHECKS for finding in _guarded(check, settings))


def _guarded(check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except (DicomnodeError, OSError) as error:
        yield Finding(check.__name__.replace("_", " "), False, str(error))


def configuration(settings: Settings) -> Iterator[Finding]:
    yield Finding("configuration", True, "every key is known and in range")
    if settings.scp.host not in ("127.0.0.1", "::1", "localhost"):
        listed = settings.scp.allowed_calling_ae_titles or settings.scp.allowed_networks
        sentence = (
            "listens beyond this machine, with allow-lists"
            if listed
            else (
                "listens beyond this machine for anybody: set scp.allowed_calling_ae_titles "
                "and scp.allowed_networks"
            )
        )
        yield Finding("exposure", bool(listed), sentence)


def port(settings: Settings) -> Iterator[Finding]:
    """Opened as the receiver does; a host that is no address of this machine raises."""
    tls = settings.scp.tls
    if tls is not None:
        yield _tls_port(settings.scp.host, tls, "scp.tls")
    if tls is not None and tls.only:
        return
    where = f"{settings.scp.host}:{settings.scp.port}"
    try:
        listen(settings.scp.host, settings.scp.port).close()
    except PortInUseError as error:
        yield _who_has_the_port(settings, error)
    else:
        yield Finding("port", True, f"{where} is free")


def _tls_port(host: str, tls: DicomTLSSettings, section: str) -> Finding:
    try:
        listen(host, tls.port, section).close()
    except PortInUseError as error:
        ours = shows(host, tls.port, tls.certificate_file)
        sentence = f"{host}:{tls.port}: the node is running and shows its certificate"
        return Finding("TLS port", ours, sentence if ours else str(error))
    return Finding("TLS port", True, f"{host}:{tls.port} is free")


def _who_has_the_port(settings: Settings, in_use: PortInUseError) -> Finding:
    """The node itself, if what answers knows its AE title, even where it rejects this caller."""
    where = f"{settings.scp.host}:{settings.scp.port}"
    ourselves = DestinationSettings(
        name="self", ae_title=settings.scp.ae_title, host=settings.scp.host, port=settings.scp.port
    )
    try:
        echo(ourselves, settings.scp.ae_title)
    except AssociationRejectedError as error:
        if error.reason == _CALLED_AE_TITLE_NOT_RECOGNISED:
            return Finding("port", False, f"{in_use}; a DICOM node of another AE title answers")
        return Finding("port", True, f"{where}: the node is running, and admits others only")
    except DicomnodeError:
        return Finding("port", False, str(in_use))
    return Finding("port", True, f"{where}: the node is running and answers C-ECHO")


def web(settings: Settings) -> Iterator[Finding]:
    """The HTTP role, where it is enabled."""
    if not settings.web.enabled:
        return
    where = f"{settings.web.host}:{settings.web.port}"
    guarded = "with a token" if read_token(settings.web) else "to this machine only"
    try:
        listen(settings.web.host, settings.web.port, "web").close()
    except PortInUseError as error:
        ours = _answers_http(settings.web)
        sentence = f"{where}: the HTTP role is running and well"
        yield Finding("web", ours, sentence if ours else f"{error}, or the HTTP role is not well")
    else:
        yield Finding("web", True, f"{where} is free, and will answer {guarded}")


def desk(settings: Settings) -> Iterator[Finding]:
    """Whether anybody could use it, and what the OpenID provider wants of us."""
    if not (settings.web.enabled and settings.web.desk):
        return
    if (oidc := settings.web.oidc) is not None:
        token_in(oidc.client_secret_file, "web.oidc.client_secret_file")
        yield Finding("desk", True, f"people log in at {oidc.issuer}")
        return
    tracked = Database(settings.database_url)
    if not tracked.check().is_current:
        return  # another check says so
    with tracked.read() as connection:
        there = accounts.exist(connection)
    missing = "nobody can use it: dicomnode accounts add NAME --role administrator"
    yield Finding("desk", there, "there are accounts" if there else missing)


def _answers_http(web: WebSettings) -> bool:
    if web.tls is not None:
        return shows(web.host, web.port, web.tls.certificate_file)
    url = f"http://{web.host}:{web.port}{HEALTH_PATH}"
    try:
        with urlopen(url, timeout=5.0) as page:
            return b'"version"' in page.read(1000)
    except (OSError, HTTPException):
        return False


def destinations(settings: Settings) -> Iterator[Finding]:
    if not settings.destinations and not settings.delivery.return_to_sender:
        yield Finding("destinations", True, "none is configured: SEGs stay on this machine")
    for destination in settings.destinations:
        yield _echoed("destination", destination, settings)


def archives(settings: Settings) -> Iterator[Finding]:
    for archive in settings.archives:
        yield _echoed("archive", archive, settings)


def _echoed(what: str, peer: DestinationSettings, settings: Settings) -> Finding:
    subject = f"{what} {peer.name}"
    try:
        echo(peer, peer.calling_ae_title or settings.scp.ae_title)
    except DicomnodeError as error:
        return Finding(subject, False, str(error))
    return Finding(subject, True, "answers C-ECHO")


def sources(settings: Settings) -> Iterator[Finding]:
    for source in settings.sources:
        subject = f"source {source.name}"
        try:
            yield Finding(subject, True, probe(source, settings))
        except DicomnodeError as error:
            yield Finding(subject, False, str(error))


def notifications(settings: Settings) -> Iterator[Finding]:
    for channel in channels_of(settings):
        try:
            yield Finding(f"notifications by {channel.name}", True, channel.probe())
        except DicomnodeError as error:
            yield Finding(f"notifications by {channel.name}", False, str(error))


def models(settings: Settings) -> Iterator[Finding]:
    for model in installed_examiner(settings).models:
        subject, who = f"model {model.identity.kind.value}", model.identity
        try:
            verify(model)
        except (ModelError, OSError) as error:
            yield Finding(subject, False, str(error))
        else:
            sentence = f"{who.name}, SHA-256 {who.sha256[:12]}... as pinned"
            yield Finding(subject, True, sentence)


def device(settings: Settings) -> Iterator[Finding]:
    from dicomnode.inference.nnunet import device_name

    yield Finding("device", True, f"the networks run on {device_name(settings.inference.device)}")


def decoding(settings: Settings) -> Iterator[Finding]:
    """Peers' compressed pixels are decoded in a process of their own."""
    with closing(Decoder()) as decoder:
        filtered = decoder.is_filtered
    yield Finding(
        "decoding",
        filtered,
        "compressed pixels are decoded in a process that can open and reach nothing"
        if filtered
        else "decoders are limited in memory and time, but may open files and connections: "
        "apt install libseccomp2, or a kernel with seccomp",
    )


def disk(settings: Settings) -> Iterator[Finding]:
    """The data folder is not made here: it has to belong to the account that runs the node."""
    folder = settings.node.data_folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("data folder", False, f"{existing} can't be written by this account")
    free_bytes = shutil.disk_usage(existing).free
    enough = free_bytes > settings.scp.minimum_free_bytes
    sentence = f"{free_bytes / 1e9:.1f} GB free for {folder}"
    used_percent, limit = used_percent_of(existing), settings.retention.used_percent
    if used_percent > limit:
        sentence += f"; {used_percent:.0f} percent used, retention.used_percent is {limit:g}"
    yield Finding(
        "disk", enough, sentence if enough else f"{sentence}: under scp.minimum_free_bytes"
    )


def database(settings: Settings) -> Iterator[Finding]:
    found = Database(settings.database_url)
    if found.is_sqlite and not Path(found.url.database or "").exists():
        yield Finding("database", True, "none yet; the node makes it when it starts")
        return
    state = found.check()
    if state.is_current:
        yield Finding("database", True, f"reachable, schema {state.current}")
    else:
        sentence = f"schema {state.current}, needed {state.needed}: dicomnode db migrate"
        yield Finding("database", False, sentence)


CHECKS: tuple[Check, ...] = (
    configuration,
    port,
    web,
    desk,
    destinations,
    archives,
    sources,
    notifications,
    models,
    device,
    decoding,
    disk,
    permissions,
    certificates,
    database,
)
