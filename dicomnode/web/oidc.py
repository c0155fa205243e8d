"""Log in at an OpenID provider: code flow with PKCE, state and nonce (OpenID Connect Core 3.1).

What is under way is kept here, for a few minutes, under a state that the browser has as a cookie
too. The provider's document and keys are read for each login: logins are rare, and keys change.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

import httpx
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dicomnode.config import token_in
from dicomnode.config_web import OidcSettings
from dicomnode.domain import Role
from dicomnode.errors import DicomnodeError

# Signed with a key that only the provider has; no shared secret, and no "none".
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
_LEEWAY_SECONDS = 60
_MOST_PENDING = 1000
_PENDING_SECONDS = 600.0
_SCOPE = "openid profile"


class OidcError(DicomnodeError):
    """The provider can't be used, or what it says proves nothing: nobody is logged in."""


@dataclass(frozen=True)
class Pending:
    """A login that has gone to the provider; `path` is where it leads to afterwards."""

    state: str
    nonce: str
    code_verifier: str = field(repr=False)
    path: str
    until: float


@dataclass(frozen=True)
class Person:
    """`subject` names the issuer too; `names` are what the account may be called, best first."""

    subject: str
    names: tuple[str, ...]
    role: Role | None


class PendingLogins:
    """A bounded number of them, the oldest forgotten first; each can be taken once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: OrderedDict[str, Pending] = OrderedDict()

    def begin(self, path: str) -> Pending:
        made = Pending(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            code_verifier=secrets.token_urlsafe(48),
            path=path,
            until=self._clock() + _PENDING_SECONDS,
        )
        with self._lock:
            self._pending[made.state] = made
            if len(self._pending) > _MOST_PENDING:
                self._pending.popitem(last=False)
        return made

    def take(self, state: str) -> Pending | None:
        with self._lock:
            found = self._pending.pop(state, None)
        return found if found is not None and found.until > self._clock() else None


class Provider:
    """The site's OpenID provider, as one client of it."""

    def __init__(self, settings: OidcSettings, redirect_uri: str) -> None:
        """Raises `ConfigurationError` where the client's secret can't be read."""
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._secret = token_in(settings.client_secret_file, "web.oidc.client_secret_file")

    async def authorization_url(self, pending: Pending) -> str:
        """Where the browser goes. Raises `OidcError`."""
        async with self._client() as client:
            document = await self._document(client)
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": _SCOPE,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": create_s256_code_challenge(pending.code_verifier),
            "code_challenge_method": "S256",
        }
        return str(add_params_to_uri(document["authorization_endpoint"], list(query.items())))

    async def person(self, pending: Pending, code: str) -> Person:
        """Who came back with this code. Raises `OidcError`."""
        async with self._client() as client:
            document = await self._document(client)
            try:
                id_token = await self._exchange(client, document["token_endpoint"], pending, code)
                keys = KeySet.import_key_set(await _json(client, document["jwks_uri"]))
                token = jwt.decode(id_token, keys, algorithms=_ALGORITHMS)
                claims = self._checked(token, pending)
            except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
                # The text of some of these has a part of the token.
                raise OidcError(f"{self._settings.issuer}: {type(error).__name__}") from None
        subject = str(claims["sub"])
        names = (str(claims.get("preferred_username", "")), subject)
        return Person(f"{self._settings.issuer} {subject}", names, self._role(claims))

    async def _exchange(
        self, client: httpx.AsyncClient, url: str, pending: Pending, code: str
    ) -> str:
        """The ID token for the code (RFC 6749 4.1.3, RFC 7636 4.5)."""
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": pending.code_verifier,
        }
        # RFC 6749 2.3.1: both are encoded as in a form before they are put together.
        named = (quote_plus(self._settings.client_id), quote_plus(self._secret))
        answer = await client.post(url, data=sent, auth=named)
        answer.raise_for_status()
        return str(answer.json()["id_token"])

    def _checked(self, token: jwt.Token, pending: Pending) -> Mapping[str, Any]:
        """OpenID Connect Core 3.1.3.7. Raises `JoseError`."""
        issuer, client_id = self._settings.issuer, self._settings.client_id
        wanted = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": client_id},
        }
        params = {"nonce": pending.nonce, "client_id": client_id}
        CodeIDToken(token.claims, token.header, wanted, params).validate(leeway=_LEEWAY_SECONDS)
        return dict(token.claims)

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        """The highest one that a group of the person has; None: not for this node."""
        said = claims.get(self._settings.roles_claim, [])
        groups = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        named = [group for group in groups if isinstance(group, str)]
        roles = [role for group, role in self._settings.roles.items() if group in named]
        return max(roles, key=lambda role: role.rank, default=None)

    async def _document(self, client: httpx.AsyncClient) -> Mapping[str, str]:
        """OpenID Connect Discovery 4; its issuer has to be the configured one."""
        issuer = self._settings.issuer
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        names = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        try:
            document = await _json(client, url)
            found = {name: str(document[name]) for name in names}
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise OidcError(f"{url}: {type(error).__name__}") from None
        if found["issuer"] != issuer:
            raise OidcError(f"{url}: it is of another issuer")
        if issuer.startswith("https:") and not all(
            each.startswith("https://") for each in found.values()
        ):
            raise OidcError(f"{url}: it names an address without TLS")
        return found

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=self._settings.timeout_seconds)


async def _json(client: httpx.AsyncClient, url: str) -> Any:
    answer = await client.get(url)
    answer.raise_for_status()
    return answer.json()
