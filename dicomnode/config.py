"""`config.toml` and the environment become one frozen `Settings` value.

Every key is written out with its default and unit in the project's own `config.toml`; a test
keeps the two alike. An unknown key or a bad value refuses to start. An environment variable
overrides a key: `DICOMNODE_SCP__PORT=11113`. Secrets are named by file, never written here.
"""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from dicomnode import environment
from dicomnode.config_defacing import DefacingSettings, DeidentificationSettings
from dicomnode.config_desk import DeskSettings
from dicomnode.config_examination import EvidenceSettings as EvidenceSettings
from dicomnode.config_examination import InferenceSettings as InferenceSettings
from dicomnode.config_examination import SegmentationSettings as SegmentationSettings
from dicomnode.config_examination import SeriesSettings as SeriesSettings
from dicomnode.config_examination import UseSettings as UseSettings
from dicomnode.config_examination import VerdictSettings as VerdictSettings
from dicomnode.config_gate_ae import GateAESettings, check_titles
from dicomnode.config_notices import AuditMessageSettings, NotificationSettings
from dicomnode.config_peers import DeliverySettings as DeliverySettings
from dicomnode.config_peers import DestinationSettings as DestinationSettings
from dicomnode.config_peers import Proof as Proof
from dicomnode.config_peers import PullSettings as PullSettings
from dicomnode.config_peers import SourceSettings as SourceSettings
from dicomnode.config_peers import TransferSyntax as TransferSyntax
from dicomnode.config_policy import DEFAULT_PROJECT, ProjectName, ProjectSettings
from dicomnode.config_policy import GateSettings as GateSettings
from dicomnode.config_retention import RetentionSettings
from dicomnode.config_tls import DicomTLSSettings
from dicomnode.config_values import (
    NO_DATABASE_URL,
    AETitle,
    Port,
    Section,
    has_password,
    is_database_url,
)
from dicomnode.config_web import WebSettings as WebSettings
from dicomnode.errors import ConfigurationError


class NodeSettings(Section):
    """Where the node keeps everything that it must not lose."""

    data_folder: Path = Path("data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"


class DatabaseSettings(Section):
    """The tracking database; empty means SQLite (WAL) inside the data folder."""

    url: str = ""
    url_file: Path | None = None


class SCPSettings(Section):
    """The receiving Application Entity."""

    ae_title: AETitle = "DICOMNODE"
    host: str = "127.0.0.1"
    port: Port = 11112
    processes: PositiveInt = 1
    require_called_ae_title: bool = True
    allowed_calling_ae_titles: tuple[AETitle, ...] = ()
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 131_072
    read_directly: bool = True
    maximum_associations: PositiveInt = 64
    maximum_associations_per_peer: PositiveInt = 16
    acse_timeout_seconds: PositiveFloat = 10.0
    dimse_timeout_seconds: PositiveFloat = 30.0
    network_timeout_seconds: PositiveFloat = 60.0
    minimum_free_bytes: Annotated[int, Field(ge=0)] = 1_000_000_000
    maximum_object_bytes: PositiveInt = 2_147_483_648
    malformed_uids: Literal["accept", "refuse"] = "accept"
    tls: DicomTLSSettings | None = None

    @model_validator(mode="after")
    def _two_ports(self) -> SCPSettings:
        if self.tls is not None and not self.tls.only and self.tls.port == self.port:
            raise ValueError("tls.port has to be another one than port, where tls.only is false")
        return self


class CompletenessSettings(Section):
    """When a series counts as whole."""

    quiet_seconds: PositiveFloat = 30.0
    shortest_quiet_seconds: PositiveFloat = 5.0
    longest_quiet_seconds: PositiveFloat = 300.0
    adaptive: bool = True
    ask_sender: bool = True
    wait_for_missing_seconds: PositiveFloat = 600.0
    longest_open_seconds: PositiveFloat = 3600.0
    poll_seconds: PositiveFloat = 1.0


class JobSettings(Section):
    """Lanes of the job engine; see docs/decisions.md."""

    poll_seconds: PositiveFloat = 0.5
    deliver_slots: PositiveInt = 4
    maximum_attempts: PositiveInt = 20
    examination_attempts: PositiveInt = 3
    examination_postponements: PositiveInt = 300
    examination_pause_seconds: PositiveFloat = 30.0
    silence_seconds: PositiveFloat = 300.0
    silence_seconds_per_megavoxel: Annotated[float, Field(ge=0)] = 20.0
    keep_done_days: Annotated[float, Field(ge=1)] = 90.0


class OwnGateSettings(GateSettings):
    """The policy of the project "default", and the key that signs the receipts of all."""

    key_file: Path | None = None


class Settings(BaseSettings):
    """The whole configuration, frozen."""

    model_config = SettingsConfigDict(
        env_prefix=environment.PREFIX,
        env_nested_delimiter=environment.DELIMITER,
        frozen=True,
        extra="forbid",
    )

    node: NodeSettings = NodeSettings()
    database: DatabaseSettings = DatabaseSettings()
    scp: SCPSettings = SCPSettings()
    web: WebSettings = WebSettings()
    desk: DeskSettings = DeskSettings()
    completeness: CompletenessSettings = CompletenessSettings()
    series: SeriesSettings = SeriesSettings()
    inference: InferenceSettings = InferenceSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    verdict: VerdictSettings = VerdictSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    defacing: DefacingSettings = DefacingSettings()
    deidentification: DeidentificationSettings = DeidentificationSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    sources: tuple[SourceSettings, ...] = ()
    pull: PullSettings = PullSettings()
    delivery: DeliverySettings = DeliverySettings()
    jobs: JobSettings = JobSettings()
    retention: RetentionSettings = RetentionSettings()
    gate: OwnGateSettings = OwnGateSettings()
    gate_ae: GateAESettings = GateAESettings()
    archives: tuple[DestinationSettings, ...] = ()
    projects: dict[ProjectName, ProjectSettings] = {}
    notifications: NotificationSettings = NotificationSettings()
    audit_messages: AuditMessageSettings = AuditMessageSettings()

    @field_validator("projects")
    @classmethod
    def _the_default_project_is_gate(
        cls, projects: dict[str, ProjectSettings]
    ) -> dict[str, ProjectSettings]:
        if DEFAULT_PROJECT in projects:
            raise ValueError(f"the rules of the project {DEFAULT_PROJECT!r} stand in [gate]")
        return projects

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        for what in ("destinations", "sources", "archives"):
            names = [peer.name for peer in getattr(self, what)]
            if len(set(names)) != len(names):
                raise ValueError(f"two {what} have the same name")
        return self

    @model_validator(mode="after")
    def _archives_get_objects_as_they_are(self) -> Settings:
        for archive in self.archives:
            if of_segs := archive.model_fields_set & {"transfer_syntaxes", "proof"}:
                raise ValueError(f"archives have no {', '.join(sorted(of_segs))}")
        return self

    @model_validator(mode="after")
    def _the_default_project_has_a_key(self) -> Settings:
        if self.gate.deidentify and self.deidentification.key_file is None:
            raise ValueError("gate.deidentify: needs deidentification.key_file")
        return self

    @model_validator(mode="after")
    def _each_project_has_its_own_key(self) -> Settings:
        """The same key gives a person the same pseudonym: two projects could be put together."""
        asking = [own.deidentification for own in self.projects.values() if own.deidentify]
        if self.gate.deidentify:
            asking.append(self.deidentification)
        files = [own.key_file for own in asking]
        if twice := next((file for file in files if files.count(file) > 1), None):
            raise ValueError(f"deidentification.key_file: {twice} is that of two projects")
        return self

    @model_validator(mode="after")
    def _the_gate_ae_knows_its_ways(self) -> Settings:
        projects = (DEFAULT_PROJECT, *self.projects)
        check_titles(self.gate_ae, projects, [archive.name for archive in self.archives])
        if self.gate_ae.enabled and self.gate.key_file is None:
            raise ValueError("gate_ae.enabled: needs gate.key_file, which signs the receipts")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @property
    def spool_folder(self) -> Path:
        return self.node.data_folder / "spool"

    @property
    def results_folder(self) -> Path:
        return self.node.data_folder / "results"

    @property
    def pulses_folder(self) -> Path:
        """Where each process says that it lives, and what it measured."""
        return self.node.data_folder / "pulses"

    @property
    def waiting_folder(self) -> Path:
        """What waits at the gate's DICOM door."""
        return self.node.data_folder / "gate-waiting"

    def deidentification_of(self, project: str) -> tuple[str, DeidentificationSettings]:
        """The section that says how headers are de-identified for a project, and its key here.

        Raises `ConfigurationError` where there is no such project.
        """
        if project == DEFAULT_PROJECT:
            return "deidentification", self.deidentification
        if project not in self.projects:
            raise ConfigurationError(f"there is no project {project!r} in the configuration")
        return f"projects.{project}.deidentification", self.projects[project].deidentification

    def way_of_copies(self, names_of: str) -> tuple[str, ...]:
        """How faces are removed, and names for the project `names_of` where it is one: another
        way makes another copy.

        A key is told apart by the name of its file. Raises `ConfigurationError` as above.
        """
        way = (self.defacing.method, self.defacing.series_description_suffix)
        return (*way, names_of, self.deidentification_of(names_of)[1].method) if names_of else way

    @property
    def database_url(self) -> str:
        """Raises `ConfigurationError` where it, or the file that holds it, can't be used."""
        key, url = "database.url", self.database.url
        if (file := self.database.url_file) is not None:
            key, url = "database.url_file", _read_text(file, "database.url_file: ").strip()
        elif not url:
            return f"sqlite:///{self.node.data_folder.absolute()}/tracking.sqlite"
        if not is_database_url(url):
            raise ConfigurationError(f"{key}: {NO_DATABASE_URL}")
        return url


def load(path: Path | None = None) -> Settings:
    """Read `path` (None: defaults and environment only).

    Raises `ConfigurationError` with every wrong key, what is wrong with it and where it stands.
    """
    if unknown := environment.unknown_keys(Settings):
        raise ConfigurationError("\n".join(unknown))
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(_read_text(path))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{path}: not a TOML file: {error}") from None
    # Names with an underscore in front would be taken for options of pydantic-settings itself.
    if hidden := [key for key in values if key.startswith("_")]:
        raise ConfigurationError(f"{path}: {', '.join(hidden)}: unknown key")
    _refuse_password(values.get("database"), path)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, path)) from None
    except SettingsError as error:
        advice = "lists and whole sections are written as JSON"
        raise ConfigurationError(f"environment: {error}; {advice}") from None
    folder = settings.node.data_folder
    if any(part.exists() and not part.is_dir() for part in (folder, *folder.parents)):
        raise ConfigurationError(f"node.data_folder: {folder} is, or lies in, a file")
    _ = settings.database_url  # raises now rather than in the middle of a start
    return settings


def _refuse_password(database: object, path: Path | None) -> None:
    url = database.get("url") if isinstance(database, dict) else None
    if isinstance(url, str) and has_password(url):
        raise ConfigurationError(
            f"{path}: database.url: holds a password, which has no place in this file: write the "
            "address into a file of its own (database.url_file, mode 0600) or into the environment "
            "(DICOMNODE_DATABASE__URL), or leave the password to libpq (~/.pgpass, PGPASSFILE)"
        )


def _read_text(path: Path, key: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        advice = "" if key else "; copy config.toml there"
        raise ConfigurationError(f"{key}{path}: no such file{advice}") from None
    except OSError as error:
        raise ConfigurationError(f"{key}{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{key}{path}: not a text file in UTF-8") from None


def token_in(file: Path, key: str) -> str:
    """The bearer token (RFC 6750) in a file; raises `ConfigurationError` without quoting it."""
    token = _read_text(file, f"{key}: ").strip()
    if not token:
        raise ConfigurationError(f"{key}: {file} is empty: write a long random text there")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"{key}: {file}: a token is one word of printable ASCII characters, without a space"
        )
    return token


def secret_in(file: Path, key: str) -> str:
    """The one line in a file; raises `ConfigurationError` without quoting it."""
    secret = _read_text(file, f"{key}: ").rstrip("\r\n")
    if not secret or not secret.isprintable():
        raise ConfigurationError(f"{key}: {file}: a secret is one line of printable characters")
    return secret


def _explain(error: ValidationError, path: Path | None) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        wrong = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        where = environment.source(item["loc"]) or path or "environment"
        lines.append(f"{where}: {key}: {wrong}")
    return "\n".join(lines)
