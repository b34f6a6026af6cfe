"""Where the program learns about its surroundings: `KUBEWITNESS_*` variables. Nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import ByteSize, Field, PositiveFloat
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.telemetry.logs import LogFormat

PREFIX: Final = "KUBEWITNESS_"
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """How this process runs. Every field is an option of `serve` too, which comes first."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    config: Path | None = Field(None, description="Configuration file (YAML); without one, everything is recorded.")
    data_dir: Path = Field(Path("data"), description="Folder of the journal.")
    admission_host: str = Field("0.0.0.0", description="Address of the admission port (HTTPS).")  # noqa: S104
    admission_port: Port = Field(10250, description="Port that the API server calls; 10250 passes most firewalls.")
    console_host: str = Field("127.0.0.1", description="Address of the console port (HTTP).")
    console_port: Port = Field(8080, description="Port of the API, the metrics and the probes.")
    tls_dir: Path = Field(Path("certs"), description="Folder with tls.crt and tls.key.")
    cluster_name: str = Field("", description="Name of the cluster in entries; globalConfig.cluster_name comes first.")
    synchronous: Literal["FULL", "NORMAL"] = Field(
        "FULL", description="FULL survives a power cut; NORMAL only the end of the process, but commits faster."
    )
    commit_budget_seconds: PositiveFloat = Field(1.0, description="How long an answer waits for its commit.")
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        15.0, description="How long to go on serving after SIGTERM, while the API server learns that we leave."
    )
    flush_seconds: PositiveFloat = Field(10.0, description="How long to wait for the last commits and deliveries.")
    max_body: ByteSize = Field(
        ByteSize(8 * 1024 * 1024), description="Larger reviews are recorded without their objects."
    )
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

    @property
    def retention_age(self) -> timedelta | None:
        """The age beyond which entries are forgotten."""
        return timedelta(days=self.retention_days) if self.retention_days else None


def environment() -> Mapping[str, str]:
    """Return the variables of this process, for `{{ env.NAME }}` in the configuration."""
    return dict(os.environ)  # noqa: TID251  this is the place


def kubebuilder_assets() -> Path | None:
    """Return the folder of a control plane's binaries (the envtest convention), if one is named."""
    value = os.environ.get("KUBEBUILDER_ASSETS")  # noqa: TID251  this is the place
    return Path(value) if value else None
