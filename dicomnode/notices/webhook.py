"""Notices by HTTP: a POST of JSON, with its HMAC-SHA256 (RFC 2104) where there is a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from urllib.parse import urlsplit

import httpx

from dicomnode.config import secret_in
from dicomnode.config_notices import WebhookSettings
from dicomnode.config_values import is_http_url
from dicomnode.errors import ConfigurationError, NoticeError
from dicomnode.notices.message import Message

SIGNATURE_HEADER = "X-Dicomnode-Signature"
_SECRET_KEY = "notifications.webhook.secret_file"


class Webhook:
    name = "webhook"

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings

    def send(self, message: Message) -> None:
        """Raises `NoticeError` for every answer but 2xx; a redirection is not followed."""
        body = json.dumps(message.values, sort_keys=True).encode("utf-8")
        headers = {"Content-Type": "application/json"}
        if self._settings.secret_file is not None:
            secret = secret_in(self._settings.secret_file, _SECRET_KEY).encode("utf-8")
            signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
            headers[SIGNATURE_HEADER] = f"sha256={signature}"
        answer = self._ask("POST", headers, body)
        if not answer.is_success:
            raise NoticeError(f"{self._where} answered {answer.status_code}")

    def probe(self) -> str:
        """Whether anybody answers there at all; what the address says to a HEAD does not matter."""
        self._ask("HEAD", {}, b"")
        return f"{self._where} answers"

    @property
    def _url(self) -> str:
        """Read anew each time. Raises `ConfigurationError`, which quotes nothing."""
        file, key = self._settings.url_file, "notifications.webhook.url_file"
        if file is None:
            return self._settings.url
        url = secret_in(file, key)
        if not is_http_url(url.partition("?")[0]):
            raise ConfigurationError(f"{key}: {file}: has to hold an http(s) address")
        return url

    @property
    def _where(self) -> str:
        """Never the path: it may be a secret."""
        return f"webhook at {urlsplit(self._url).netloc}"

    def _ask(self, method: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        given = self._settings
        try:
            trust = ssl.create_default_context(cafile=given.ca_file)
            with httpx.Client(
                verify=trust, timeout=given.timeout_seconds, trust_env=False
            ) as client:
                return client.request(method, self._url, headers=headers, content=body)
        except (httpx.HTTPError, OSError) as error:
            raise NoticeError(f"{self._where}: {type(error).__name__}") from error
