"""A node with every secret set, and everything that it writes: none of them is in there."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from dicomnode.app.checkup import CHECKS
from dicomnode.config import DestinationSettings, load
from dicomnode.delivery.store import echo
from dicomnode.domain import Role
from dicomnode.gate.keys import generate
from dicomnode.tracking import accounts
from dicomnode.tracking.database import Database
from tests.certificates import Authority, Pair
from tests.command_line import dicomnode
from tests.e2e.site import wait_until
from tests.factories import make_series
from tests.integration.web.desk import PASSWORD, hash_of
from tests.integration.web.stow import RELATED, multipart
from tests.ports import free_ports

# What no output may hold; more is added for keys.
MARK = "sEcReT"


class Secrets:
    """Files with a secret each, that others can't read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.parts = [MARK.encode(), PASSWORD.encode()]
        self.authority = Authority(folder)
        self.own = self._key(self.authority.issue("node"))
        generate(folder / "gate-key")
        self._hide(folder / "gate-key")

    def file(self, name: str) -> Path:
        path = self._folder / name
        path.write_text(f"{MARK}-{name}")
        path.chmod(0o600)
        return path

    def _key(self, pair: Pair) -> Pair:
        self._hide(pair.key)
        return pair

    def _hide(self, key: Path) -> None:
        self.parts.append(key.read_bytes().splitlines()[1][-24:])  # of the private half


def configuration(folder: Path, secrets: Secrets, scp: int, web: int, gate: int, tls: int) -> str:
    own = f'certificate_file = "{secrets.own.certificate}"\nkey_file = "{secrets.own.key}"\n'
    nobody = 'ae_title = "NOBODY"\nhost = "127.0.0.1"\nport = 1\n'
    url = folder / "database-url"
    url.write_text(f"sqlite:///{folder}/data/tracking.sqlite")
    hook = secrets.file("webhook-url")
    hook.write_text(f"http://127.0.0.1:1/{MARK}-webhook-path")
    return f"""
[node]
data_folder = "{folder / "data"}"
log_level = "DEBUG"
[scp]
port = {scp}
minimum_free_bytes = 0
[database]
url_file = "{url}"
[scp.tls]
{own}port = {tls}
only = false
client_ca_file = "{secrets.authority.certificate}"
[web]
enabled = true
desk = true
port = {web}
token_file = "{secrets.file("web-token")}"
[web.tls]
{own}
[web.oidc]
issuer = "https://127.0.0.1:1/realm"
client_id = "dicomnode"
client_secret_file = "{secrets.file("oidc")}"
roles = {{ staff = "viewer" }}
[gate]
key_file = "{folder / "gate-key"}"
[gate_ae]
enabled = true
port = {gate}
[[gate_ae.titles]]
ae_title = "RESEARCH"
project = "default"
archive = "research"
[[archives]]
name = "research"
{nobody}tls = {{ certificate_file = "{secrets.own.certificate}", key_file = "{secrets.own.key}" }}
[[sources]]
name = "archive"
retrieve = "wado"
url = "http://127.0.0.1:1/dicom-web"
token_file = "{secrets.file("source-token")}"
[notifications.email]
host = "127.0.0.1"
port = 1
user = "node"
password_file = "{secrets.file("mail-password")}"
sender = "node@example.org"
recipients = ["stewards@example.org"]
[notifications.webhook]
url_file = "{hook}"
secret_file = "{secrets.file("webhook")}"
"""


@contextmanager
def running_roles(config: Path, ports: dict[str, int]) -> Iterator[list[Path]]:
    """The roles as commands of their own, without a worker; the logs that they write."""
    logs = [config.with_name(f"{role}.log") for role in ports]
    with ExitStack() as stack:
        for (role, port), log in zip(ports.items(), logs, strict=True):
            output = stack.enter_context(log.open("wb"))
            command = [
                sys.executable,
                "-m",
                "dicomnode.cli",
                *role.split(),
                "--config",
                str(config),
            ]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            wait_until(f"{role} listens", lambda port=port: listens(port), 90, log)
        yield logs


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def use(secrets: Secrets, web: int, tls: int, tmp_path: Path) -> None:
    """Right secrets and wrong ones, through every door."""
    trust = ssl.create_default_context(cafile=secrets.authority.certificate)
    (image,) = make_series(tmp_path / "made", slices=1)
    base = f"https://127.0.0.1:{web}"
    with httpx.Client(base_url=base, verify=trust, timeout=60, headers={"Origin": base}) as client:
        for token in (f"{MARK}-web-token", f"{MARK}-guess"):
            headers = {"Authorization": f"Bearer {token}", "Content-Type": RELATED}
            content = multipart([image.read_bytes()])
            stored = client.post("/dicom-web/studies", content=content, headers=headers)
            assert stored.status_code == (200 if token.endswith("web-token") else 401)
        for password in (PASSWORD, f"{MARK}-password"):
            client.post("/login", data={"name": "anna", "password": password, "next": "/"})
        # A password in the wrong field, and a token of the API that is none.
        client.post("/login", data={"name": f"{MARK}-name", "password": "x", "next": "/"})
        client.get("/api/v1/studies", headers={"Authorization": f"Bearer dn_{MARK}"})
        client.get("/login/oidc")
    shown = {"certificate_file": secrets.own.certificate, "key_file": secrets.own.key}
    there = {"name": "node", "ae_title": "DICOMNODE", "host": "127.0.0.1", "port": tls}
    tls_settings = {"ca_file": secrets.authority.certificate} | shown
    echo(DestinationSettings.model_validate(there | {"tls": tls_settings}))


def outputs(config: Path) -> list[str]:
    """Commands that use a secret where it fails, and what `check` says but of networks."""
    told = []
    for command in (["notify", "--test"], ["pull", "--from", "archive", "--study", "1.2.3"]):
        done = dicomnode(*command, "--config", str(config))
        told += [done.stdout, done.stderr]
    settings = load(config)
    for check in CHECKS:
        if check.__name__ not in ("models", "device"):
            told += [finding.sentence for finding in check(settings)]
    return told


def test_no_secret_is_in_anything_that_the_node_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = Secrets(tmp_path)
    scp, web, gate, tls, nobody = free_ports(5)
    config = tmp_path / "config.toml"
    config.write_text(configuration(tmp_path, secrets, scp, web, gate, tls))
    database = Database((tmp_path / "database-url").read_text())
    database.migrate()
    with database.begin() as c:
        accounts.create(c, "anna", Role.STEWARD, password_hash=hash_of(PASSWORD))
    database.close()
    with running_roles(config, {"scp": scp, "web": web, "gate serve": gate}) as logs:
        use(secrets, web, tls, tmp_path)
        told = outputs(config)
    # A database that can't be reached, its password in the environment.
    address = f"postgresql+psycopg://node:{MARK}-database@127.0.0.1:{nobody}/node"
    monkeypatch.setenv("DICOMNODE_DATABASE__URL", address)
    told.append(dicomnode("status").stderr)
    assert "127.0.0.1" in told[-1]
    data = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    written = {str(path): path.read_bytes() for path in (*logs, *data)}
    written |= {f"output {number}": text.encode() for number, text in enumerate(told)}
    assert [
        (name, part)
        for name, content in written.items()
        for part in secrets.parts
        if part in content
    ] == []
    received = [path for path in data if "spool" in path.parts]
    assert received
    assert all(path.stat().st_mode & 0o077 == 0 for path in received)
