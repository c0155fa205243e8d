"""Who may open an association (PS3.8 9.3.4: result, source and reason of a rejection)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from dicomnode.config import SCPSettings
from dicomnode.tls import PeerCertificate

_PERMANENT, _TRANSIENT = 1, 2
_SERVICE_USER, _PRESENTATION_PROVIDER = 1, 3


@dataclass(frozen=True)
class AssociationRequest:
    """Who asks; the two counts include this request. `may_store`: it proposes a SOP class of the
    Storage service, or one that nobody knows."""

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    open_from_peer: int
    open_in_all: int
    certificate: PeerCertificate | None = None
    may_store: bool = False


@dataclass(frozen=True)
class Rejection:
    """What an A-ASSOCIATE-RJ says to the peer, and the sentence that the log says to us."""

    result: int
    source: int
    diagnostic: int
    sentence: str


# A sender that is told so comes again; one that proposes nothing to store is welcome.
NO_SPACE = Rejection(
    _TRANSIENT,
    _PRESENTATION_PROVIDER,
    1,
    "it may store, and less than scp.minimum_free_bytes are free",
)


def decide(
    settings: SCPSettings, request: AssociationRequest, section: str = "scp"
) -> Rejection | None:
    """None: welcome. The first rule that objects gives the reason.

    `section` is where the configuration says who is welcome; limits are always those of `[scp]`.
    """
    for objects, rejection in _RULES:
        if objects(settings, request):
            return replace(rejection, sentence=rejection.sentence.format(section=section))
    return None


def _network_unknown(settings: SCPSettings, request: AssociationRequest) -> bool:
    if not settings.allowed_networks:
        return False
    address = ip_address(request.peer_address.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return not any(address in network for network in settings.allowed_networks)


def _called_title_wrong(settings: SCPSettings, request: AssociationRequest) -> bool:
    return settings.require_called_ae_title and request.called_ae_title != settings.ae_title


def _calling_title_unknown(settings: SCPSettings, request: AssociationRequest) -> bool:
    allowed = settings.allowed_calling_ae_titles
    return bool(allowed) and request.calling_ae_title not in allowed


def _certificate_missing_or_wrong(settings: SCPSettings, request: AssociationRequest) -> bool:
    """Without TLS, too: whose title is bound to a certificate never calls without it."""
    wanted = settings.tls.ae_certificates if settings.tls is not None else {}
    names = wanted.get(request.calling_ae_title)
    if names is None:
        return False
    return request.certificate is None or not request.certificate.is_any_of(names)


def _too_many_from_peer(settings: SCPSettings, request: AssociationRequest) -> bool:
    return request.open_from_peer > settings.maximum_associations_per_peer


def _too_many(settings: SCPSettings, request: AssociationRequest) -> bool:
    return request.open_in_all > settings.maximum_associations


_Rule = Callable[[SCPSettings, AssociationRequest], bool]
_RULES: tuple[tuple[_Rule, Rejection], ...] = (
    (
        _network_unknown,
        Rejection(_PERMANENT, _SERVICE_USER, 1, "its address is not in {section}.allowed_networks"),
    ),
    (
        _called_title_wrong,
        Rejection(_PERMANENT, _SERVICE_USER, 7, "it calls an AE title that is none of {section}"),
    ),
    (
        _calling_title_unknown,
        Rejection(
            _PERMANENT,
            _SERVICE_USER,
            3,
            "its AE title is not in {section}.allowed_calling_ae_titles",
        ),
    ),
    (
        _certificate_missing_or_wrong,
        Rejection(
            _PERMANENT,
            _SERVICE_USER,
            3,
            "it shows none of the certificates that {section}.tls.ae_certificates binds its AE "
            "title to",
        ),
    ),
    (
        _too_many_from_peer,
        Rejection(
            _TRANSIENT,
            _PRESENTATION_PROVIDER,
            2,
            "it has scp.maximum_associations_per_peer associations open",
        ),
    ),
    (
        _too_many,
        Rejection(
            _TRANSIENT, _PRESENTATION_PROVIDER, 2, "scp.maximum_associations are open in all"
        ),
    ),
)
