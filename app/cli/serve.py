"""`kubewitness serve` and `kubewitness watch`: the service itself, and the watcher of failed Jobs."""

from __future__ import annotations

from app.cli.settings_command import settings_command
from app.settings import Settings, WatchSettings


def _serve(settings: Settings) -> int:
    """Take admission reviews, record them, and tell the sinks.

    Options come before KUBEWITNESS_* variables, which come before the defaults.
    """
    # Imported here: `--help` and the reading commands need no web server.
    from app.bootstrap.auditor import serve  # noqa: PLC0415
    from app.bootstrap.process import run  # noqa: PLC0415

    return run(lambda: serve(settings))


def _watch(settings: WatchSettings) -> int:
    """Watch Jobs, record those that fail for good with their evidence, and tell the sinks.

    Runs beside `serve`, with a journal of its own; `serve --watch` does both. Of several replicas one tells, chosen by
    a Lease. Options come before KUBEWITNESS_* variables, which come before the defaults.
    """
    from app.bootstrap.process import run  # noqa: PLC0415
    from app.bootstrap.watcher import watch  # noqa: PLC0415

    return run(lambda: watch(settings))


serve = settings_command(Settings, _serve)
watch = settings_command(WatchSettings, _watch)
