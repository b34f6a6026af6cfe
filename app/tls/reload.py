"""Serves the certificate that lies in a directory, and every later one, without dropping a connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from watchfiles import awatch

from app.tls.errors import CertificateError
from app.tls.files import read_serving_pair
from app.tls.issue import KeyPair
from app.tls.serving import Serving

logger = structlog.get_logger(__name__)

POLL_INTERVAL: Final = timedelta(seconds=60)
"""How late a change is seen where the file system sends no events, such as some network mounts."""


class LiveCertificate:
    """The certificate of a TLS server, as its files have it now.

    Reads `tls.crt` and `tls.key` from the directory at once, and raises CertificateError if they cannot be
    served. `watch` then follows them: a new pair is served from the next handshake on, connections that exist
    stay as they are, and a pair that cannot be served leaves the old one in place until a better one comes.
    `on_reload` is told of every attempt, whether it served a new pair.
    """

    def __init__(
        self,
        directory: Path,
        *,
        on_reload: Callable[[bool], None] = lambda _: None,
        poll_interval: timedelta = POLL_INTERVAL,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._on_reload = on_reload
        self._poll_interval = poll_interval
        self._clock = clock
        self.pair = read_serving_pair(directory, now=clock())
        self._serving = Serving()
        self._serving.serve(self.pair, self._source)
        self.reloads = 0
        self.last_error: str | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """Stays the same object for life: hand it to the server once."""
        return self._serving.context

    @property
    def not_after(self) -> datetime:
        """When (UTC) the certificate that is served now expires."""
        return self.pair.not_after

    async def watch(self) -> None:
        """Serve what the files hold soon after they change, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            # Second, so that its first look comes when the events are on: nothing changes unseen in between.
            tasks.create_task(self._poll())

    def reload(self) -> None:
        """Serve what the files hold, if it is another pair that can be served; otherwise keep the old one."""
        try:
            pair = read_serving_pair(self._directory, now=self._clock())
            if pair != self.pair:
                self._serve(pair)
        except CertificateError as error:
            self.last_error = str(error)
            logger.warning("tls.reload_failed", error=self.last_error, served_until=self.not_after.isoformat())
            self._on_reload(False)
        else:
            self.last_error = None

    def _serve(self, pair: KeyPair) -> None:
        self._serving.serve(pair, self._source)
        self.pair = pair
        self.reloads += 1
        logger.info("tls.reloaded", directory=str(self._directory), not_after=self.not_after.isoformat())
        self._on_reload(True)

    @property
    def _source(self) -> str:
        return f"tls.crt and tls.key in {self._directory}"

    async def _poll(self) -> None:
        while True:
            self.reload()
            await asyncio.sleep(self._poll_interval.total_seconds())

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_directory()
            except (OSError, RuntimeError) as error:  # no such directory, no watches left, a failing watcher
                logger.warning("tls.watch_failed", directory=str(self._directory), error=str(error))
                await asyncio.sleep(self._poll_interval.total_seconds())

    async def _follow_directory(self) -> None:
        """Reload after every change, until the path is another directory, of which the events tell nothing.

        The directory is watched rather than the files: the kubelet renews a mounted Secret by renaming a symbolic
        link, `..data`, and `tls.crt` itself, a link through it, never changes.
        """
        watched = _identity(self._directory)
        interval_ms = round(self._poll_interval / timedelta(milliseconds=1))
        events = awatch(
            self._directory, watch_filter=None, recursive=False, rust_timeout=interval_ms, yield_on_timeout=True
        )
        async with aclosing(events):
            async for changes in events:
                if changes:
                    self.reload()
                if _identity(self._directory) != watched:
                    return


def _identity(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino
