"""Who may ask the HTTP role, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicomnode.app.checkup import web as check_web
from dicomnode.config import SourceSettings
from dicomnode.errors import ConfigurationError, PortInUseError
from dicomnode.intake.listening import listen
from dicomnode.retrieval.deadline import Deadline
from dicomnode.retrieval.web import WebCatalogue
from dicomnode.web.access import read_token
from dicomnode.web.server import serve
from tests.factories import make_series
from tests.integration.scp.receiving import Node, wait_until
from tests.integration.web.desk import behind_a_proxy
from tests.integration.web.stow import multipart, post, running_web, url, web_settings

TOKEN = "a-long-random-text"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(f"{TOKEN}\n")
    settings = web_settings(folder, token_file=folder / "token")
    with running_web(settings, folder / "node") as node:
        yield node


@pytest.mark.parametrize(
    "given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}]
)
def test_without_the_token_nothing_is_stored_or_told(
    guarded: Node, tmp_path: Path, given: dict[str, str]
) -> None:
    node = guarded.mark()
    (image,) = make_series(tmp_path / "made", slices=1, series="guarded")
    stored = post(node, multipart([image.read_bytes()]), headers=given)
    told = httpx.get(url(node, "/metrics"), headers=given)
    assert [stored.status_code, told.status_code] == [401, 401]
    assert stored.headers["www-authenticate"] == told.headers["www-authenticate"] == "Bearer"
    assert node.objects() == []
    wait_until(lambda: len(node.events("request refused")) == 2)
    log = node.log.read_text()
    assert "request refused: " in log
    assert "Bearer wrong" not in log


def test_with_the_token_everything_is(guarded: Node, tmp_path: Path) -> None:
    node = guarded.mark()
    (image,) = make_series(tmp_path / "made", slices=1, series="welcome")
    given = {"Authorization": f"Bearer {TOKEN}"}
    assert post(node, multipart([image.read_bytes()]), headers=given).status_code == 200
    assert len(node.objects()) == 1
    wait_until(lambda: node.rows())
    told = httpx.get(url(node, "/metrics"), headers=given)
    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "dicomnode_instances_stored_total 1\n" in told.text


def test_guessing_the_token_is_slowed_down_for_each_client(tmp_path: Path) -> None:
    """On every path together; what is right counts again when the client has waited."""
    web = behind_a_proxy(tmp_path) | {"logins_per_minute": 5}
    with running_web(web_settings(tmp_path, **web), tmp_path / "node") as node:

        def status(client: str, token: str, method: str = "GET") -> int:
            given = {"X-Forwarded-For": client, "Authorization": f"Bearer {token}"}
            path = "/metrics" if method == "GET" else "/dicom-web/studies"
            answer = httpx.request(method, url(node, path), headers=given, timeout=30)
            return answer.status_code

        tried = [status("192.0.2.1", f"guess{number}") for number in range(3)]
        tried += [status("192.0.2.1", f"guess{number}", "POST") for number in range(3)]
        assert tried == [401] * 5 + [429]
        assert status("192.0.2.1", "a-token") == 429
        assert status("192.0.2.2", "a-token") == 200
        wait_until(lambda: len(node.events("request refused")) == 5)


def test_health_is_told_to_everyone(guarded: Node) -> None:
    answer = httpx.get(url(guarded, "/health"))
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_check_finds_the_running_role_or_a_stranger(guarded: Node, tmp_path: Path) -> None:
    enabled = guarded.settings.web.model_copy(update={"enabled": True})
    (found,) = check_web(guarded.settings.model_copy(update={"web": enabled}))
    assert (found.ok, "running and well" in found.sentence) == (True, True)
    settings = web_settings(tmp_path, enabled=True)
    (free,) = check_web(settings)
    assert free.ok
    with listen("127.0.0.1", settings.web.port) as stranger:
        stranger.setblocking(True)
        (taken,) = check_web(settings)
    assert not taken.ok


def test_an_empty_or_missing_token_file_refuses_to_start(tmp_path: Path) -> None:
    settings = web_settings(tmp_path, token_file=tmp_path / "token")
    with pytest.raises(ConfigurationError, match=r"web\.token_file"):
        read_token(settings.web)
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(ConfigurationError, match="is empty"):
        read_token(settings.web)


@pytest.mark.parametrize("token", ["Löwe", "two words", "two\nlines"])
def test_a_token_that_no_client_can_send_refuses_to_start(tmp_path: Path, token: str) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    source = SourceSettings(name="archive", retrieve="wado", url="http://pacs", token_file=file)
    for read in (
        lambda: read_token(web_settings(tmp_path, token_file=file).web),
        lambda: WebCatalogue(source).matching_studies({}, Deadline(1)),
    ):
        with pytest.raises(ConfigurationError, match="one word of printable ASCII") as caught:
            read()
        assert token not in str(caught.value)


def test_a_busy_port_refuses_to_start_and_is_named(tmp_path: Path) -> None:
    settings = web_settings(tmp_path)
    with (
        listen("127.0.0.1", settings.web.port),
        pytest.raises(PortInUseError, match=r"set web\.port"),
    ):
        serve(settings, ready=lambda: None, stop=None)  # type: ignore[arg-type]


def test_it_stops_in_order_when_asked(tmp_path: Path) -> None:
    with running_web(web_settings(tmp_path), tmp_path / "node") as node:
        assert httpx.get(url(node, "/health")).status_code == 200
        assert node.stop() == 0
    assert "Traceback" not in node.log.read_text()
