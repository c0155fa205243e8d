"""Where a request comes from, and where a login may lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from dicomnode.config import WebSettings
from dicomnode.config_tls import TLSServerSettings
from dicomnode.web.origin import client_address, is_of_our_pages, local_path

PROXY = WebSettings(token_file="token", trusted_proxies=("10.0.0.0/8",))  # type: ignore[arg-type]


def asked(peer: str = "127.0.0.1", **headers: str) -> HTTPConnection:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "headers": named, "client": (peer, 1)}
    return HTTPConnection(scope)


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("192.0.2.7", "203.0.113.1", "192.0.2.7"),
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.9, 203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("::ffff:192.0.2.7", "203.0.113.1", "192.0.2.7"),
        ("no address", "203.0.113.1", ""),
    ],
)
def test_only_a_trusted_proxy_says_who_asks(peer: str, told: str, address: str) -> None:
    assert client_address(asked(peer, x_forwarded_for=told), PROXY) == address


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"origin": "http://127.0.0.1:8080"}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"origin": "http://127.0.0.1:8080", "sec_fetch_site": "same-origin"}, True),
        ({}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:8081"}, False),
        ({"origin": "https://127.0.0.1:8080"}, False),
        ({"origin": "http://127.0.0.1:8080.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://evil.example", "sec_fetch_site": "same-origin"}, False),
    ],
)
def test_a_form_has_to_come_from_our_own_pages(headers: dict[str, str], is_ours: bool) -> None:
    assert is_of_our_pages(asked(host="127.0.0.1:8080", **headers), WebSettings()) is is_ours


def test_with_tls_of_our_own_our_pages_are_https() -> None:
    settings = WebSettings(tls=TLSServerSettings(certificate_file=Path("web.pem")))
    for scheme in ("http", "https"):
        form = asked(host="127.0.0.1:8080", origin=f"{scheme}://127.0.0.1:8080")
        assert is_of_our_pages(form, settings) is (scheme == "https")
    assert settings.is_https


@given(st.text(max_size=40))
def test_a_path_is_always_one_of_this_server(text: str) -> None:
    for given_path in (text, f"/{text}", f"//{text}", f"/\\{text}"):
        path = local_path(given_path)
        assert path.startswith("/")
        assert not path.startswith(("//", "/\\"))
        assert path.isascii()
        assert path.isprintable()


@pytest.mark.parametrize("path", ["/", "/studies?state=held&page=2", "/studies/1.2.3#series"])
def test_a_path_of_ours_stays_as_it_is(path: str) -> None:
    assert local_path(path) == path
