"""`watch`: the watcher in a process of its own."""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp

from app.bootstrap.backbone import Backbone
from app.bootstrap.namespaces import Namespaces
from app.bootstrap.process import Stop
from app.bootstrap.watching import Watching
from app.config.model import Config
from app.settings import WatchSettings
from app.web.health import Health
from app.web.light import LightConsole

logger = structlog.get_logger(__name__)


class Watcher:
    """`watch`: the watcher with a journal, sinks and a console of its own."""

    def __init__(self, settings: WatchSettings) -> None:
        self.backbone = Backbone(settings, self._take_over)
        self.namespaces = Namespaces(settings.kubeconfig)
        self.watching = Watching(self.backbone, self.namespaces, alone=True)
        self.wish = Stop()

    async def start(self) -> None:
        """Open the journal, compile the configuration, begin to watch and to deliver."""
        async with self.backbone.starting():
            await self._start()

    async def _start(self) -> None:
        backbone = self.backbone
        await backbone.open()
        await backbone.employ_sinks()
        self.namespaces.follow(wanted=backbone.config.current.wants_namespace_labels)
        await backbone.listen(self._console, {**self.watching.checks, "namespaces": self.namespaces.check})
        await self.watching.connect()
        backbone.begin()
        logger.info(
            "listening",
            action="start",
            console=":".join(map(str, backbone.console_address)),
            playbooks=len(backbone.config.current.custom_playbooks),
        )

    async def run(self) -> int:
        """Watch until SIGTERM or SIGINT; return the process' exit code: 1 where entries were lost at the end."""
        with self.wish.on_signals():
            await self.wish.wait()
            self.backbone.health.draining = True
            await self.watching.close()
            await self.namespaces.close()
            await self.backbone.background.cancel()
            return await self.backbone.close()

    def _take_over(self, config: Config) -> None:
        self.namespaces.follow(wanted=config.wants_namespace_labels)
        self.watching.take_over(config)

    async def _console(self, health: Health) -> ASGIApp:
        def load() -> ASGIApp:
            # What nobody asks for need not be in memory.
            from app.bootstrap.facts import installation  # noqa: PLC0415
            from app.web.console import console  # noqa: PLC0415

            backbone = self.backbone
            return console(
                backbone.journal.path, health, backbone.metrics, lambda: installation(backbone), backbone.peers
            )

        return self.backbone.guarded(LightConsole(health, self.backbone.metrics, load))


async def watch(settings: WatchSettings) -> int:
    """Run the watcher until it is told to stop; return the exit code."""
    watcher = Watcher(settings)
    with watcher.wish.on_signals():
        return await watcher.run() if await watcher.wish.spares(watcher.start()) else 0
