"""What sections and single values of the configuration have to look like."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_SQLITE_URL = re.compile(r"sqlite(\+\w+)?:///.+")
_SERVER_URL = re.compile(
    r"postgres(ql)?(\+\w+)?://([^@]*@)?(\[[\w:.%]+\]|[^@:/?\[\]]*)(:(?P<port>\d{1,5}))?(/[^@?]*)?(\?.*)?"
)
NO_DATABASE_URL = (
    "has to be sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME, with a port up to "
    "65535, and an @ in the user or password written as %40"
)


class Section(BaseModel):
    """A part of the configuration; an unknown key refuses to start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _ae_title(value: str) -> str:
    """PS3.5 6.2, VR AE: 1 to 16 characters of the default repertoire, no backslash."""
    title = value.strip(" ")
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return title


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_http_url(text: str) -> bool:
    """With a host and, where there is one, a port; without spaces, queries and passwords."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and not set(' "<>\\^`{|}?#@') & set(text)
    return plain and url.scheme in ("http", "https") and bool(url.hostname) and port != 0


def is_database_url(url: str) -> bool:
    """Strict about `@`: one that is not escaped would show a part of the password as the host."""
    if found := _SERVER_URL.fullmatch(url):
        return 1 <= int(found["port"] or 5432) <= 65535
    return _SQLITE_URL.fullmatch(url) is not None


def has_password(url: str) -> bool:
    """Whether a database's address holds one, in front of its host or among its parameters."""
    user, _, _ = url.partition("://")[2].rpartition("@")
    parameters = parse_qs(url.partition("?")[2], keep_blank_values=True)
    secrets = {"password", "sslpassword"} & {name.lower() for name in parameters}
    return ":" in user or bool(secrets)
