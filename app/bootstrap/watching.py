"""The watcher within a process: connected, begun, and ended. For `watch`, and for `serve --watch`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

import structlog

from app.bootstrap.backbone import Backbone
from app.bootstrap.connecting import RETRY_SECONDS
from app.bootstrap.namespaces import Namespaces
from app.bootstrap.process import Background
from app.bootstrap.watcher_parts import WatcherParts
from app.config.model import Config
from app.kube.client import KubernetesApi
from app.kube.errors import KubernetesSetupError
from app.store.database import StoreError
from app.web.health import Check, State

logger = structlog.get_logger(__name__)


class Watching:
    """The watcher upon a backbone: `connect` or `connect_later`, and at the end `close`.

    `alone` says that the process is there for nothing else, and so not ready while it cannot watch. A server goes on
    taking reviews without its watcher.
    """

    def __init__(self, backbone: Backbone, namespaces: Namespaces, *, alone: bool) -> None:
        backbone.metrics.watching()
        self._backbone = backbone
        self._namespaces = namespaces
        self._background = Background()
        self._worst: State = "unavailable" if alone else "degraded"
        self._parts: WatcherParts | None = None
        self._connection: asyncio.Task[None] | None = None
        self._missing = "the credentials for the API server are being read"
        self._is_closed = False

    @property
    def checks(self) -> dict[str, Callable[[], Check]]:
        """What `/readyz` says of the watcher."""
        return {
            "watch": lambda: self._checked(WatcherParts.check_watch),
            "lease": lambda: self._checked(WatcherParts.check_lease),
            "failed jobs": lambda: self._checked(WatcherParts.check_teller),
        }

    async def connect(self) -> None:
        """Read the credentials and start to watch; raises KubernetesSetupError where there are none."""
        api = await KubernetesApi.connect(self._backbone.settings.kubeconfig)
        parts = WatcherParts(self._backbone, api, self._namespaces.labels)
        await parts.open()
        parts.start(self._background)
        self._parts = parts

    def connect_later(self) -> None:
        """Connect in the background: reviews do not wait for a login plugin, nor for a missing token."""
        self._connection = asyncio.create_task(self._connect_at_last(), name="watcher connection")

    async def close(self) -> None:
        """Stop watching, and let another replica lead."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.cancel()
            await asyncio.wait([self._connection])
        await self._background.cancel()
        if self._parts is not None:
            await self._parts.close()

    def take_over(self, config: Config) -> None:
        """Take a changed configuration over."""
        if self._parts is not None:
            self._parts.take_over(config)

    async def _connect_at_last(self) -> None:
        while self._parts is None:
            try:
                await self.connect()
            except (KubernetesSetupError, StoreError, sqlite3.Error, OSError) as error:
                self._missing = f"--watch cannot reach an API server: {error}"
                logger.warning("not watching", action="retry", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _checked(self, check: Callable[[WatcherParts], Check]) -> Check:
        if self._parts is None:
            return Check(self._worst, self._missing)
        if self._is_closed:
            return Check(self._worst, "another replica may watch: this one is about to end")
        if ended := self._background.ended():
            return Check(self._worst, f"ended, which needs a restart; the log says why: {', '.join(ended)}")
        found = check(self._parts)
        return Check(self._worst, found.message) if found.state == "unavailable" else found
