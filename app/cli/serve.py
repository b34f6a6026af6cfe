"""`kubewitness serve`: the service itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ByteSize

from app.cli.failures import told
from app.settings import PREFIX, Settings


def _option(name: str) -> Any:
    field = Settings.model_fields[name]
    shown = field.default.human_readable() if isinstance(field.default, ByteSize) else field.default
    default = "" if shown in (None, "") else f"default: {shown}; "
    return typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{field.description} ({default}env: {PREFIX}{name.upper()})",
        show_default=False,
    )


def serve(
    config: Annotated[Path | None, _option("config")] = None,
    data_dir: Annotated[Path | None, _option("data_dir")] = None,
    admission_host: Annotated[str | None, _option("admission_host")] = None,
    admission_port: Annotated[int | None, _option("admission_port")] = None,
    console_host: Annotated[str | None, _option("console_host")] = None,
    console_port: Annotated[int | None, _option("console_port")] = None,
    tls_dir: Annotated[Path | None, _option("tls_dir")] = None,
    cluster_name: Annotated[str | None, _option("cluster_name")] = None,
    synchronous: Annotated[Literal["FULL", "NORMAL"] | None, _option("synchronous")] = None,
    commit_budget_seconds: Annotated[float | None, _option("commit_budget_seconds")] = None,
    drain_seconds: Annotated[float | None, _option("drain_seconds")] = None,
    flush_seconds: Annotated[float | None, _option("flush_seconds")] = None,
    max_body: Annotated[str | None, _option("max_body")] = None,
    retention_days: Annotated[int | None, _option("retention_days")] = None,
    retention_size: Annotated[str | None, _option("retention_size")] = None,
    fingerprint_key_file: Annotated[Path | None, _option("fingerprint_key_file")] = None,
    log_level: Annotated[Literal["debug", "info", "warning", "error"] | None, _option("log_level")] = None,
    log_format: Annotated[Literal["auto", "console", "json"] | None, _option("log_format")] = None,
) -> None:
    """Take admission reviews, record them, and tell the sinks.

    Options come before KUBEWITNESS_* variables, which come before the defaults.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    with told():
        settings = Settings(**given)
        # Imported here: `--help` and the reading commands need no web server.
        from app import bootstrap  # noqa: PLC0415
        from app.telemetry.logs import configure  # noqa: PLC0415

        configure(settings.log_level, settings.log_format)
        code = bootstrap.run(lambda: bootstrap.serve(settings))
    raise typer.Exit(code)
