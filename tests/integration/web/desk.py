"""The HTTP role with its desk, the accounts of a test, and a browser that is none."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomnode.config import Settings
from dicomnode.domain import Role
from dicomnode.tracking import accounts, api_tokens, passwords
from dicomnode.tracking.database import Database
from dicomnode.tracking.spool import Spool
from tests import postgres
from tests.integration.scp.receiving import Node, open_port
from tests.integration.web.stow import running_web

PASSWORD = "a long pass phrase"
_HASHES: dict[str, str] = {}
_HASHING = threading.Lock()


def desk_settings(folder: Path, database_url: str = "", **sections: Any) -> Settings:
    web = {"port": open_port(), "desk": True, "logins_per_minute": 1000} | sections.pop("web", {})
    return Settings(
        node={"data_folder": folder / "data"},  # type: ignore[arg-type]
        database={"url": database_url},  # type: ignore[arg-type]
        scp={"minimum_free_bytes": 0, "port": open_port(), "maximum_associations_per_peer": 64},  # type: ignore[arg-type]
        web=web,
        **sections,
    )


def behind_a_proxy(folder: Path) -> dict[str, Any]:
    """Keys of `[web]`: a proxy on this machine says who asks."""
    (folder / "token").write_text("a-token")
    return {"token_file": folder / "token", "trusted_proxies": ["127.0.0.1/32"]}


@contextmanager
def database_for(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """For a fixture of a module with the params "sqlite" and "postgresql": an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/tracking.sqlite"
        return
    server = request.getfixturevalue("postgres_server")
    with postgres.fresh_database(server, f"test_{uuid.uuid4().hex}") as url:
        yield url


@contextmanager
def running_desk(settings: Settings, folder: Path) -> Iterator[Node]:
    """Its database may know of files that were never there: the folders are."""
    Database(settings.database_url).migrate()
    Spool(settings.spool_folder).prepare()
    with running_web(settings, folder / "node") as node:
        yield node


def hash_of(password: str) -> str:
    """Made once for all tests of a process: it takes a while."""
    with _HASHING:
        return _HASHES.setdefault(password, passwords.hashed(password))


def make_account(settings: Settings, name: str, role: Role, password: str = PASSWORD) -> None:
    Path(settings.node.data_folder).mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    database.migrate()
    with database.begin() as c:
        accounts.create(c, name, role, password_hash=hash_of(password))
    database.close()


def make_token(settings: Settings, name: str, role: Role) -> str:
    """For an account of this name and role, which is made."""
    database = Database(settings.database_url)
    database.migrate()
    with database.begin() as c:
        owner = accounts.by_name(c, name) or accounts.create(c, name, role)
        token = api_tokens.create(c, owner, "a test", role)[1]
    database.close()
    return token


def origin(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.web.port}"


def browser(settings: Settings) -> httpx.Client:
    """It sends where its forms come from, and keeps cookies."""
    base = origin(settings)
    return httpx.Client(base_url=base, headers={"Origin": base}, timeout=30)


def log_in(
    client: httpx.Client, name: str, password: str = PASSWORD, next_: str = "/"
) -> httpx.Response:
    return client.post("/login", data={"name": name, "password": password, "next": next_})
