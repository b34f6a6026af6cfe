"""Where the program learns about its surroundings: `KUBEWITNESS_*` variables. Nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, HttpUrl, PositiveFloat, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.report_wish import Office
from app.telemetry.logs import LogFormat

PREFIX: Final = "KUBEWITNESS_"
Port = Annotated[int, Field(ge=0, le=65535)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253)]
"""A name that Kubernetes takes for most objects: a DNS subdomain (RFC 1123)."""
ServiceName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


def _listed(text: str) -> list[str]:
    """Return what is between commas, each once."""
    return list(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


def _is_base(url: str) -> bool:
    """Say whether something can be asked below a URL."""
    try:
        parts = urlsplit(url)
        is_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_place and parts.scheme in ("http", "https") and not parts.query and not parts.fragment


class CommonSettings(BaseSettings):
    """How a process runs, whichever it is. Every field is an option of its command too, which comes first."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    config: Path | None = Field(None, description="Configuration file (YAML); without one, everything is recorded.")
    data_dir: Path = Field(Path("data"), description="Folder of the journal.")
    console_host: str = Field("127.0.0.1", description="Address of the console port (HTTP).")
    console_port: Port = Field(8080, description="Port of the API, the metrics and the probes.")
    cluster_name: str = Field("", description="Name of the cluster in entries; globalConfig.cluster_name comes first.")
    synchronous: Literal["FULL", "NORMAL"] = Field(
        "FULL", description="FULL survives a power cut; NORMAL only the end of the process, but commits faster."
    )
    commit_budget_seconds: PositiveFloat = Field(1.0, description="How long an answer waits for its commit.")
    flush_seconds: PositiveFloat = Field(10.0, description="How long to wait for the last commits and deliveries.")
    retention_days: Annotated[int, Field(ge=0)] = Field(
        90, description="Entries older than this are forgotten; 0 keeps them whatever their age."
    )
    retention_size: ByteSize = Field(
        ByteSize(5 * 1024**3),
        description="The oldest entries are forgotten when the journal grows larger; 0 lets it grow.",
    )
    fingerprint_key_file: Path | None = Field(
        None, description="Key of the fingerprints of secrets; made in the data folder if not given."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: LogFormat = Field("auto", description="console, json, or auto: console on a terminal.")

    kubeconfig: Path | None = Field(
        None,
        description="How to reach the API server; in a cluster its service account is enough; else ~/.kube/config.",
    )
    lease_namespace: str = Field(
        "", description="Namespace of the watcher's Leases; by default its own, or that of the kubeconfig's context."
    )
    lease_name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=200)] = Field(
        "kubewitness-watcher", description="Name of the Lease by which replicas of the watcher choose their leader."
    )
    failed_job_max_age_seconds: Annotated[int, Field(ge=60)] = Field(
        3600, description="Jobs that failed longer ago are not told, such as after a downtime."
    )
    log_lines: Annotated[int, Field(ge=0, le=10_000)] = Field(
        100, description="Last lines of each container's log that are kept of a failing Pod; 0 reads no logs."
    )
    log_bytes: ByteSize = Field(
        ByteSize(32 * 1024), description="Last bytes of each container's log that are kept of a failing Pod."
    )
    ledger_url: HttpUrl | None = Field(
        None, description="Console of the server whose ledger tells what changed before a failure."
    )
    ledger_token_file: Path | None = Field(
        None, description="Token that is shown to the console at --ledger-url, read anew when the file changes."
    )

    secret: ObjectName | Literal[""] = Field(
        "",
        description="Secret in its own namespace that all replicas share: key of the fingerprints, token of the "
        "console, and with --tls-source secret the authority. What it lacks is made at the start.",
    )
    console_token_file: Path | None = Field(
        None,
        description="Token that others than this machine must show to the console; comes before that of --secret.",
    )
    console_users_file: Path | None = Field(
        None,
        description="Users who may sign in to the console, as lines of `htpasswd -B`; read anew when the file changes.",
    )
    console_kubernetes_auth: bool = Field(
        False,
        description="Let in users of the cluster by their tokens (TokenReview): each sees the namespaces in which they "
        "may get entries.kubewitness.io (SubjectAccessReview).",
    )
    console_kubernetes_audience: str = Field(
        "", description="Audience for which such tokens must be made; by default that of the API server."
    )
    console_requeue: bool = Field(
        False, description="Whoever sees everything on the console may queue dead deliveries again; else it only shows."
    )

    report_hours: str = Field("8-18", description="Working hours: the report lists what people change beyond them.")
    report_days: str = Field("mon-fri", description="Working days, such as mon-fri or sun,mon,tue,wed,thu.")
    report_zone: str = Field("UTC", description="Time zone of the report and its hours, such as Europe/Paris.")

    @field_validator("report_hours", "report_days", "report_zone")
    @classmethod
    def _can_be_understood(cls, text: str, field: ValidationInfo) -> str:
        """Refuse at the start what no report could be made with."""
        Office(**{(field.field_name or "").removeprefix("report_"): text}).understood()
        return text

    @property
    def office(self) -> Office:
        """When people are at work."""
        return Office(hours=self.report_hours, days=self.report_days, zone=self.report_zone)

    console_peers: str = Field(
        "",
        description="Consoles of the other replicas, and of the watcher, whose ledgers are shown with one's own: URLs "
        "with commas between them. One's own may be among them. They must share --secret, or token and key.",
    )
    console_name: str = Field(
        "",
        description="Name of this replica, as the host in --console-peers begins; by default that of the machine.",
        max_length=253,
    )

    @field_validator("console_peers")
    @classmethod
    def _are_consoles(cls, text: str) -> str:
        """Refuse what no console could be asked at."""
        for url in _listed(text):
            if "@" in url:
                raise ValueError("a console is asked with the token, not with a user in its URL")
            if not _is_base(url):
                raise ValueError(f"{url[:100]!r} is no console; write URLs such as http://kubewitness-1.example:8080")
        return text

    @property
    def peers(self) -> tuple[str, ...]:
        """The consoles in `console_peers`."""
        return tuple(_listed(self.console_peers))

    @property
    def retention_age(self) -> timedelta | None:
        """The age beyond which entries are forgotten."""
        return timedelta(days=self.retention_days) if self.retention_days else None


class Settings(CommonSettings):
    """How `serve` runs."""

    admission_host: str = Field("0.0.0.0", description="Address of the admission port (HTTPS).")  # noqa: S104
    admission_port: Port = Field(10250, description="Port that the API server calls; 10250 passes most firewalls.")
    tls_dir: Path = Field(Path("certs"), description="Folder with tls.crt and tls.key.")
    tls_source: Literal["files", "secret"] = Field(
        "files",
        description="files serves what --tls-dir holds; secret signs its own, with the authority in --secret.",
    )
    tls_service: ServiceName = Field(
        "kubewitness",
        description="Service by which the API server calls: the name in certificates of --tls-source secret.",
    )
    webhook_configuration: ObjectName | Literal[""] = Field(
        "",
        description="ValidatingWebhookConfiguration whose caBundle must hold the authority of what is served; "
        "with --tls-source secret it is kept so.",
    )
    tls_leaf_seconds: Annotated[int, Field(ge=30)] = Field(
        86_400, description="Seconds that a certificate of --tls-source secret is valid; renewed when a third is left."
    )
    tls_authority_seconds: Annotated[int, Field(ge=60)] = Field(
        31_536_000, description="Seconds that the authority in --secret is valid; replaced when a third is left."
    )
    tls_overlap_seconds: Annotated[int, Field(ge=1)] = Field(
        60, description="Seconds that API servers are given to learn of a new authority before it signs."
    )
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        15.0, description="How long to go on serving after SIGTERM, while the API server learns that we leave."
    )
    max_body: ByteSize = Field(
        ByteSize(8 * 1024 * 1024), description="Larger reviews are recorded without their objects."
    )
    watch: bool = Field(False, description="Watch Jobs, too: both programs in one process, for small installs.")

    @field_validator("webhook_configuration")
    @classmethod
    def _is_kept_somewhere(cls, name: str, others: ValidationInfo) -> str:
        """Have --tls-source secret come with the two objects that it keeps."""
        if others.data.get("tls_source") == "secret" and not (name and others.data.get("secret")):
            raise ValueError("--tls-source secret needs --secret and --webhook-configuration, both with a name")
        return name

    @field_validator("tls_overlap_seconds")
    @classmethod
    def _ends_in_time(cls, seconds: int, others: ValidationInfo) -> int:
        """Have the next authority sign before the current one has expired."""
        longest = others.data.get("tls_authority_seconds", 0) // 3 - 1
        if 0 < longest < seconds:
            raise ValueError(f"must be less than a third of --tls-authority-seconds: at most {longest}")
        return seconds


class WatchSettings(CommonSettings):
    """How `watch` runs: beside a server on one machine without further options."""

    data_dir: Path = Field(Path("data-watch"), description="Folder of the watcher's own journal.")
    console_port: Port = Field(8081, description="Port of the API, the metrics and the probes.")


def environment() -> Mapping[str, str]:
    """Return the variables of this process, for `{{ env.NAME }}` in the configuration."""
    return dict(os.environ)  # noqa: TID251  this is the place


def kubebuilder_assets() -> Path | None:
    """Return the folder of a control plane's binaries (the envtest convention), if one is named."""
    value = os.environ.get("KUBEBUILDER_ASSETS")  # noqa: TID251  this is the place
    return Path(value) if value else None
