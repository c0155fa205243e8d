from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from dicomnode.config import DestinationSettings, Settings, UseSettings, load
from dicomnode.config_desk import DeskSettings
from dicomnode.config_gate_ae import GateTitleSettings
from dicomnode.config_notices import EmailSettings, WebhookSettings
from dicomnode.config_policy import ProjectSettings, SeriesRule
from dicomnode.config_web import OidcSettings
from dicomnode.errors import ConfigurationError

TITLE = '[[gate_ae.titles]]\nae_title = "A"\nproject = "default"\narchive = "research"\n'
ARCHIVE = '[[archives]]\nname = "research"\nae_title = "A"\nhost = "127.0.0.1"\nport = 104\n'
CONFIG = Path(__file__).parents[2] / "config.toml"
OIDC = (
    '[web.oidc]\nissuer = "https://login.example"\nclient_id = "a"\nclient_secret_file = "b"\n'
    'roles = { staff = "steward" }\n'
)
USE = '[[inference.use]]\nkind = "face"\nnetwork = "A"\n'


def test_the_shipped_file_holds_exactly_the_defaults() -> None:
    assert load(CONFIG) == load(None)


def test_the_shipped_file_names_every_key() -> None:
    text = CONFIG.read_text()
    shipped: dict[str, Any] = tomllib.loads(text)
    for name, section in Settings().model_dump().items():
        if name in ("destinations", "sources", "archives", "projects"):
            continue
        commented = set(re.findall(r"^# (\w+) =", text, re.MULTILINE))
        for item in section:
            if re.search(rf"^# \[{{1,2}}{name}\.{item}\]", text, re.MULTILINE):
                commented.add(item)
        assert set(section) <= set(shipped[name]) | commented, name
    blocks = (
        DestinationSettings,
        OidcSettings,
        UseSettings,
        EmailSettings,
        WebhookSettings,
        GateTitleSettings,
    )
    for block in blocks:
        assert set(block.model_fields) <= set(re.findall(r"^# (\w+) =", text, re.MULTILINE))
    assert set(SeriesRule.model_fields) <= set().union(*shipped["gate"]["series"])


def test_every_section_is_frozen() -> None:
    for section in (getattr(Settings(), name) for name in Settings.model_fields):
        if isinstance(section, BaseModel):
            assert section.model_config["frozen"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[scp]\nprot = 104\n", "scp.prot: unknown key"),
        ("[radio]\nport = 1\n", "radio: unknown key"),
        ('_env_prefix = "OTHER_"\n', "_env_prefix: unknown key"),
        ("[scp]\nport = 70000\n", "scp.port: "),
        ('[scp]\nae_title = "SEVENTEEN LETTERS"\n', "scp.ae_title: "),
        ("[verdict]\nface_absent_ml = 90.0\n", "face_absent_ml must not be larger"),
        ('[web]\nhost = "0.0.0.0"\n', "web: Value error, a host that other machines reach needs"),
        ('[web]\nhost = "pacs.example"\n', "needs token_file"),
        ('[web]\npublic_url = "https://gate.example"\n', "trusted_proxies need token_file"),
        ('[web]\ntrusted_proxies = ["127.0.0.1/32"]\n', "trusted_proxies need token_file"),
        (
            '[web]\nhost = "0.0.0.0"\ntoken_file = "t"\ndesk = true\n',
            "a desk that other machines reach needs public_url",
        ),
        ('[web]\npublic_url = "http://gate.example"\n', "has to begin with https://"),
        ('[web]\npublic_url = "https://gate.example/desk"\n', "without a path"),
        ('[web]\npublic_url = "https://user:pw@gate.example"\n', "public_url is what browsers"),
        ('[web]\ntrusted_proxies = ["proxy"]\n', "web.trusted_proxies.0"),
        (OIDC.replace("https", "http"), "issuer has to begin with https://"),
        (OIDC.replace("steward", "king"), "web.oidc.roles.staff: "),
        (OIDC + 'secret = "a"\n', "web.oidc.secret: unknown key"),
        ("[scp\n", "not a TOML file"),
        ('[gate]\npass_verdicts = ["FACE_VISIBLE"]\n', "gate.pass_verdicts"),
        ('[gate]\npass_verdicts = ["UNDETERMINED"]\n', "needs a person"),
        (
            '[gate]\nreview_verdicts = ["UNDETERMINED"]\n'
            'pass_verdicts = ["DEFACED", "UNDETERMINED"]\n',
            "gate.pass_verdicts: Value error, UNDETERMINED can't pass where NO_FACE_IN_VIEW",
        ),
        ("[gate]\npersons_needed = 3\n", "gate.persons_needed: "),
        ("[gate]\nmodalities = []\n", "gate.modalities: "),
        ('[gate]\nother_file_suffixes = ["png"]\n', "gate.other_file_suffixes.0: "),
        ("[gate_ae]\nenabled = true\n", "gate_ae.enabled: needs a [[gate_ae.titles]] block"),
        ("[gate_ae]\nenabled = true\n" + TITLE + ARCHIVE, "needs gate.key_file"),
        (TITLE, "no [[archives]] block is named 'research'"),
        (TITLE.replace("default", "heads") + ARCHIVE, "there is no project 'heads'"),
        (TITLE * 2 + ARCHIVE, "two of gate_ae.titles have the same ae_title"),
        (TITLE + TITLE.replace('"A"', '"B"') + ARCHIVE, "have the same project"),
        (ARCHIVE * 2, "two archives have the same name"),
        ("[projects.default]\npersons_needed = 2\n", "stand in [gate]"),
        ('[projects."a b"]\n', "projects.a b"),
        ("[projects.cohort]\npersons = 2\n", "projects.cohort.persons: unknown key"),
        ('[[inference.use]]\nkind = "ear"\nnetwork = "A"\n', "inference.use.0.kind: "),
        ('[[inference.use]]\nkind = "face"\n', "inference.use.0.network: "),
        (USE + 'modalities = ["PT"]\n', "inference.use.0.modalities.0: "),
        (USE + "modalities = []\n", "inference.use.0.modalities: "),
        (USE + "body_parts = []\n", "inference.use.0.body_parts: "),
        (USE + 'modality = "CT"\n', "inference.use.0.modality: unknown key"),
        (USE + "coarsest_spacing_mm = 0\n", "inference.use.0.coarsest_spacing_mm: "),
        (
            USE + "finest_spacing_mm = 2.0\ncoarsest_spacing_mm = 1.0\n",
            "finest_spacing_mm must not be larger than coarsest_spacing_mm",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(message)) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    block = '[[destinations]]\nname = "pacs"\nae_title = "A"\nhost = "127.0.0.1"\nport = 104\n'
    path = tmp_path / "config.toml"
    path.write_text(block * 2)
    with pytest.raises(ConfigurationError, match="same name"):
        load(path)


def test_the_rules_that_choose_networks_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        USE + 'modalities = ["CT"]\nbody_parts = ["HEAD", ""]\nfinest_spacing_mm = 0.2\n'
        '[[inference.use]]\nkind = "face"\nnetwork = "B"\n'
    )
    first, second = load(path).inference.use
    assert (first.network, first.modalities, first.body_parts) == ("A", ("CT",), ("HEAD", ""))
    assert (first.finest_spacing_mm, first.coarsest_spacing_mm) == (0.2, None)
    assert second == UseSettings(kind="face", network="B")  # type: ignore[arg-type]


def test_a_project_is_strict_in_all_that_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        '[gate]\npass_refusals = ["LOCALIZER"]\n[projects.cohort]\npersons_needed = 2\n'
    )
    settings = load(path)
    assert settings.gate.pass_refusals == ("LOCALIZER",)
    assert settings.projects["cohort"] == ProjectSettings(persons_needed=2)


@pytest.mark.parametrize("section", ["gate", "projects.cohort"])
def test_who_asks_for_other_names_says_by_which_key(tmp_path: Path, section: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[{section}]\ndeidentify = true\n")
    with pytest.raises(ConfigurationError, match=r"deidentification\.key_file"):
        load(path)
    own = "deidentification" if section == "gate" else f"{section}.deidentification"
    path.write_text(f'{path.read_text()}[{own}]\nkey_file = "k"\ndates = "remove"\n')
    project = section.removeprefix("projects.").replace("gate", "default")
    where, found = load(path).deidentification_of(project)
    assert (where, found.key_file, found.dates) == (own, Path("k"), "remove")


def test_no_two_projects_have_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    own = '[projects.{0}]\ndeidentify = true\n[projects.{0}.deidentification]\nkey_file = "k{1}"\n'
    path.write_text(own.format("a", 1) + own.format("b", 2))
    load(path)
    path.write_text(own.format("a", 1) + own.format("b", 1))
    with pytest.raises(ConfigurationError, match="that of two projects"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load(tmp_path / "absent.toml")


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[scp]\nport = 104\nprocesses = 2\n")
    monkeypatch.setenv("DICOMNODE_SCP__PORT", "11113")
    settings = load(path)
    assert (settings.scp.port, settings.scp.processes) == (11113, 2)


def test_a_secret_url_is_read_from_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://node:secret@127.0.0.1/node\n")
    path = tmp_path / "config.toml"
    path.write_text(f'[database]\nurl_file = "{secret}"\n')
    assert load(path).database_url.endswith("@127.0.0.1/node")


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load(tmp_path)


def test_a_missing_secret_is_named_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[database]\nurl_file = "{tmp_path / "absent"}"\n')
    with pytest.raises(ConfigurationError, match=r"database.url_file: .*absent: no such file"):
        load(path)


@pytest.mark.parametrize("folder", ["file", "file/deeper"])
def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "config.toml"
    path.write_text(f'[node]\ndata_folder = "{tmp_path / folder}"\n')
    with pytest.raises(ConfigurationError, match=r"node\.data_folder"):
        load(path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://node:sec@ret/hidden@db/dicomnode",
        "postgresql://node:secret@db:port/dicomnode",
        "postgresql://node:secret@db:0/dicomnode",
        "postgresql://node:secret@db:70000/dicomnode",
        "mysql://node:secret@db/dicomnode",
        "secret",
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_a_wrong_database_url_is_refused_and_not_quoted(
    tmp_path: Path, url: str, by_file: bool
) -> None:
    (tmp_path / "url").write_text(url)
    path = tmp_path / "config.toml"
    key = f'url_file = "{tmp_path / "url"}"' if by_file else f'url = "{url}"'
    path.write_text(f"[database]\n{key}\n")
    with pytest.raises(ConfigurationError, match=r"database\.url") as raised:
        load(path)
    for part in ("sec", "hidden"):
        assert part not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://node@db/dicomnode",
        "postgresql://[::1]:5432/dicomnode",
        "postgresql:///dicomnode?host=/run/postgresql",
        "sqlite:////var/lib/dicomnode/tracking.sqlite",
    ],
)
def test_a_database_url_is_taken_as_it_is(tmp_path: Path, url: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[database]\nurl = "{url}"\n')
    assert load(path).database_url == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://node:hidden%40/word@[::1]:5432/dicomnode",
        "postgresql:///dicomnode?host=/run/postgresql&user=node&password=hidden",
        "postgresql://db/dicomnode?PASSWORD=hidden",
    ],
)
def test_a_password_has_its_place_in_a_file_of_its_own_or_in_the_environment(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, secret = tmp_path / "config.toml", tmp_path / "url"
    path.write_text(f'[database]\nurl = "{url}"\n')
    with pytest.raises(ConfigurationError, match=r"database\.url_file") as raised:
        load(path)
    assert "hidden" not in str(raised.value)
    path.write_text(f'[database]\nurl_file = "{secret}"\n')
    secret.write_text(url)
    assert load(path).database_url == url
    path.write_text("")
    monkeypatch.setenv("DICOMNODE_DATABASE__URL", url)
    assert load(path).database_url == url


@pytest.mark.parametrize(
    "name",
    ["DICOMNODE_SPC__PORT", "DICOMNODE_SCP__PROT", "DICOMNODE_SCP_PORT", "DICOMNODE_SCP__PORT__X"],
)
def test_a_misspelt_variable_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "11113")
    with pytest.raises(ConfigurationError, match=f"^environment variable {name}: unknown key"):
        load(CONFIG)


@pytest.mark.parametrize(
    ("name", "value"), [("DICOMNODE_SCP__PORT", "70000"), ("DICOMNODE_SCP", '{"port": 0}')]
)
def test_a_bad_value_is_blamed_on_the_variable_it_came_from(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^environment variable {name}: scp.port: "):
        load(CONFIG)


def test_a_list_that_is_no_json_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMNODE_SCP__ALLOWED_NETWORKS", "10.0.0.0/8")
    with pytest.raises(ConfigurationError, match="written as JSON"):
        load(CONFIG)


def test_the_variables_of_the_tests_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMNODE_TEST_DATA", "elsewhere")
    load(CONFIG)


@pytest.mark.parametrize(
    "url",
    [
        "http://[bad",
        "http://",
        "https://:8042/x",
        "http://pacs:99999",
        "http://pacs:x",
        "pacs:8042",
        "ftp://pacs",
        "http://a b",
        "http://user:password@pacs",
        "http://pacs/?x=1",
    ],
)
def test_a_source_that_has_no_address_is_refused(url: str) -> None:
    source = {"name": "archive", "retrieve": "wado", "url": url}
    with pytest.raises(ValidationError, match="url has to be"):
        Settings(sources=[source])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "url", ["http://pacs", "https://[::1]:8042/dicom-web", "http://10.0.0.1/a"]
)
def test_an_address_of_a_source_is_taken(url: str) -> None:
    source = {"name": "archive", "retrieve": "wado", "url": url}
    assert Settings(sources=[source]).sources[0].url == url  # type: ignore[list-item]


@pytest.mark.parametrize(
    "url", ["javascript:{study}", "https://pacs/ohif", "https://p a/{study}", "ftp://pacs/{study}"]
)
def test_a_viewer_is_an_http_address_with_a_place_for_the_study(url: str) -> None:
    with pytest.raises(ValidationError, match="ohif_url"):
        DeskSettings(ohif_url=url)
    DeskSettings(ohif_url="https://pacs.example/viewer?StudyInstanceUIDs={study}")
