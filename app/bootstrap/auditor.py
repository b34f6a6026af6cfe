"""`serve`: the webhook, its console, and the watcher, where that is wanted in the same process."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog
from starlette.types import ASGIApp

from app.audit.recorder import Recorder, Rules
from app.bootstrap.backbone import Backbone, address
from app.bootstrap.certificates import AdmissionCertificate, FileCertificate
from app.bootstrap.facts import installation
from app.bootstrap.namespaces import Namespaces
from app.bootstrap.process import Stop, calm_the_collector
from app.config.model import Config
from app.core.playbook import RoutedFinding
from app.core.redact import Redactor
from app.core.review import Change
from app.settings import Settings
from app.store.kinds import custom_kinds
from app.telemetry.metrics import Metrics
from app.web.admission import AdmissionEndpoint, admission_app
from app.web.console import console
from app.web.health import Health
from app.web.server import listen, listener, stop
from app.web.warm import warm

if TYPE_CHECKING:
    from app.bootstrap.installation import Installation
    from app.bootstrap.watching import Watching

logger = structlog.get_logger(__name__)

_LABELS_SECONDS: Final = 3.0
"""How long the start waits for the labels of namespaces, where they are asked for, at most."""


class Auditor:
    """The whole service. `start` raises what the operator must mend; `run` serves until told to stop."""

    certificate: AdmissionCertificate

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.backbone = Backbone(settings, self._take_over)
        self.metrics = self.backbone.metrics
        if settings.tls_source == "files":
            self.certificate = FileCertificate(settings, self.metrics)
        self.namespaces = Namespaces(settings.kubeconfig)
        self.watching = _watching(self.backbone, self.namespaces) if settings.watch else None
        self.wish = Stop()

    async def start(self) -> None:
        """Open the journal, compile the configuration, begin to deliver and to listen."""
        async with self.backbone.starting():
            await self._start()

    async def _start(self) -> None:
        backbone = self.backbone
        await backbone.open()
        if backbone.installation is not None and self.settings.tls_source == "secret":
            self.certificate = _own_certificate(self.settings, self.metrics, backbone.installation)
        await self.certificate.open()
        self.recorder = Recorder(
            backbone.journal,
            self._rules(backbone.config.current),
            backbone.ids,
            backbone.random,
            await backbone.journal.call(custom_kinds),
            lambda reason: self.metrics.deliveries_quieted.labels(reason).inc(),
        )
        await backbone.employ_sinks()
        self.namespaces.follow(wanted=backbone.config.current.wants_namespace_labels)
        await self.namespaces.settled(_LABELS_SECONDS)  # what comes earlier would be told to fewer than it should
        await self._listen()
        backbone.begin()
        self.certificate.start(backbone.background)
        if self.watching is not None:
            self.watching.connect_later()
        elif backbone.config.current.wants_failed_jobs:
            logger.info("failed Jobs are not watched here", action="start", remedy="run kubewitness watch, or --watch")

    async def _listen(self) -> None:
        settings, backbone = self.settings, self.backbone
        self.admission = AdmissionEndpoint(admission_app(), self.recorder, self.metrics, max_body=settings.max_body)
        self._admission_socket = listen(settings.admission_host, settings.admission_port, "--admission-port")
        checks = {"certificate": self.certificate.check, "namespaces": self.namespaces.check}
        checks |= self.watching.checks if self.watching else {}
        try:
            await backbone.listen(self._console, checks)
        except BaseException:
            self._admission_socket.close()
            raise
        self._admission_server = listener(self.admission, tls=self.certificate.context)
        serving = self._admission_server.serve(sockets=[self._admission_socket])
        self._admission_task = backbone.listeners.start(serving, "admission listener")
        logger.info(
            "listening",
            action="start",
            admission=_written(self._admission_socket),
            console=":".join(map(str, backbone.console_address)),
            playbooks=len(backbone.config.current.custom_playbooks),
        )

    @property
    def admission_address(self) -> tuple[str, int]:
        """Where reviews are taken."""
        return address(self._admission_socket)

    @property
    def console_address(self) -> tuple[str, int]:
        """Where the console listens."""
        return self.backbone.console_address

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return the process' exit code: 1 where entries were lost at the end."""
        with self.wish.on_signals():
            await self.wish.wait()
            return await self.stop(self.settings.drain_seconds)

    async def stop(self, drain_seconds: float) -> int:
        """Fail readiness, go on serving while that spreads, then flush; return 1 where entries were lost."""
        logger.info("draining", action="stop", seconds=drain_seconds)
        self.backbone.health.draining = True
        self.admission.draining = True
        if self.watching is not None:
            await self.watching.close()
        await self.wish.linger(drain_seconds)
        await stop(self._admission_server, self._admission_task)
        await self.namespaces.close()
        await self.backbone.background.cancel()
        return await self.backbone.close()

    def _take_over(self, config: Config) -> None:
        self.namespaces.follow(wanted=config.wants_namespace_labels)
        self.recorder.rules = self._rules(config)
        if self.watching is not None:
            self.watching.take_over(config)

    def _rules(self, config: Config) -> Rules:
        cluster, labels = self.backbone.cluster_name(config), self.namespaces.labels
        playbooks = config.compile(labels)

        def evaluate(change: Change, redactor: Redactor) -> Sequence[RoutedFinding]:
            self.namespaces.notice(change)
            return playbooks.evaluate(change, redactor, cluster, datetime.now(UTC))

        return Rules(
            selects=config.record.compile(labels),
            keeps_status=config.record.status,
            evaluate=evaluate,
            redactor=self.backbone.redactor(config),
            cluster=cluster,
            noise=config.noise,
        )

    async def _console(self, health: Health) -> ASGIApp:
        backbone = self.backbone
        app = console(backbone.journal.path, health, self.metrics, lambda: installation(backbone), backbone.peers)
        await warm(app)  # reviews would wait for what the first one to look makes it do
        return backbone.guarded(app)


def _watching(backbone: Backbone, namespaces: Namespaces) -> Watching:
    from app.bootstrap.watching import Watching  # noqa: PLC0415  20 MB that only who watches needs

    return Watching(backbone, namespaces, alone=False)


def _own_certificate(settings: Settings, metrics: Metrics, installation: Installation) -> AdmissionCertificate:
    from app.bootstrap.own_certificate import OwnCertificate  # noqa: PLC0415  20 MB that only who signs needs

    return OwnCertificate(settings, metrics, installation)


def _written(sock: socket.socket) -> str:
    return ":".join(map(str, address(sock)))


async def serve(settings: Settings) -> int:
    """Run the service until it is told to stop; return the exit code."""
    auditor = Auditor(settings)
    with auditor.wish.on_signals():
        if not await auditor.wish.spares(auditor.start()):
            return 0
        calm_the_collector()
        return await auditor.run()
