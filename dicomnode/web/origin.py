"""Where a request comes from: which address, and whether one of our own pages sent it."""

from __future__ import annotations

from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomnode.config import WebSettings
from dicomnode.config_values import is_loopback

_LONGEST_NEXT = 500


class OwnHost:
    """Refuses a Host that is not ours: a name that an attacker lets lead to loopback."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._public = urlsplit(settings.origin).hostname or ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            name = _host_name(Headers(scope=scope).get("host", ""))
            if not name or (name != self._public and not is_loopback(name)):
                answer = PlainTextResponse("this is another host\n", HTTPStatus.MISDIRECTED_REQUEST)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_of_our_pages(request: HTTPConnection, settings: WebSettings) -> bool:
    """By Sec-Fetch-Site and Origin; a browser sends one of them with every form.

    A page of another port of this machine, or of another name of the site, is a stranger.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in (None, "same-origin"):
        return False
    if origin is None:
        return site is not None
    return origin.lower() == (
        settings.origin or f"{settings.scheme}://{request.headers.get('host', '')}"
    )


def client_address(request: HTTPConnection, settings: WebSettings) -> str:
    """Of the connection; behind a trusted proxy what that one wrote last in X-Forwarded-For."""
    peer = _address(request.client.host if request.client else "")
    if peer is None:
        return ""
    if is_trusted_proxy(str(peer), settings):
        # Some proxies write a line of their own after what the client sent.
        told = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        return str(_address(told) or peer)
    return str(peer)


def is_trusted_proxy(address: str, settings: WebSettings) -> bool:
    peer = _address(address)
    return peer is not None and any(peer in network for network in settings.trusted_proxies)


def local_path(given: str | None) -> str:
    """A path of this server, "/" where it is none: nobody is led to a stranger's page."""
    path = given or "/"
    is_plain = path.isascii() and path.isprintable() and not set(' "<>\\^`{|}') & set(path)
    if not is_plain or len(path) > _LONGEST_NEXT or not path.startswith("/") or path[1:2] == "/":
        return "/"
    return path


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """None for what is none. One of IPv4 is one, also where a socket for IPv6 took it."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
