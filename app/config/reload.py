"""The configuration in effect: a valid file takes effect without a restart, a bad one is refused and told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from watchfiles import awatch

from app.config.file import LeftOut, Reading, read_content, read_usable
from app.config.model import Config
from app.config.problems import ConfigError
from app.sinks.base import SinkSetupError

log = structlog.get_logger(__name__)

_STEP_MILLISECONDS: Final = 500
"""How often the watch of the folder wakes; its default of 50 is half of what an idle process costs."""

OnChange = Callable[[Config], Awaitable[None]]
OnResult = Callable[[bool, str], None]
"""Takes whether the file was taken, and if not, what is wrong with it."""


class WatchedConfig:
    """Keeps the last good configuration while the file changes.

    `current` is in effect, since `loaded_at` (UTC); `last_error` says what is wrong with a newer file that was
    refused, None if there is none. Sinks that have problems are left out, and said, unless the file forbids that.

    The folder is watched, not the file: editors replace files, and the kubelet swaps the `..data` link of a mounted
    ConfigMap.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        on_change: OnChange,
        on_result: OnResult,
        *,
        poll_seconds: float = 30,
        settle_seconds: float = 0.1,
    ) -> None:
        """Load the file; raises ConfigError if there is no good one to begin with. No path means the defaults."""
        self._path = path
        self._environ = environ
        self._on_change = on_change
        self._on_result = on_result
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._lock = asyncio.Lock()
        self._seen: bytes | None = b"" if path is None else read_content(path)
        self._reading = self._read(self._seen)
        self._tell_notes()
        self.loaded_at: datetime = datetime.now(UTC)
        self.last_error: str | None = None

    @property
    def current(self) -> Config:
        """The configuration in effect."""
        return self._reading.config

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The sinks that the file in effect declares, and that cannot be used as they are written."""
        return self._reading.left_out

    def place(self, sink: str) -> str:
        """Return where the file in effect declares a sink, as `file:line:column`; the file's name for others."""
        return ":".join(map(str, (self._path, *self._reading.places.get(sink, ()))))

    def _read(self, content: bytes) -> Reading:
        reading = read_usable(content, str(self._path), self._environ)
        if reading.left_out and not reading.config.global_config.continue_on_sink_errors:
            raise ConfigError(problem for sink in reading.left_out for problem in sink.problems)
        return reading

    async def run(self) -> None:
        """Follow the file until cancelled. File system events are a hint: the contents decide, also every 30 s."""
        if self._path is None:
            await asyncio.Event().wait()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(self._path))
            group.create_task(self._poll())

    async def refresh(self) -> None:
        """Take the file if its contents are new and good; else keep what is in effect."""
        if self._path is None:
            return
        async with self._lock:
            try:
                content = await self._settled(self._path)
            except ConfigError as error:
                if self._seen is not None:
                    self._refuse(error)
                self._seen = None
            else:
                await self._compare(content)

    async def _settled(self, path: Path) -> bytes:
        """Read until the contents stand still: a file that is being written in place may look empty, and valid."""
        content = read_content(path)
        while content != self._seen:
            await asyncio.sleep(self._settle_seconds)
            before, content = content, read_content(path)
            if content == before:
                break
        return content

    async def _compare(self, content: bytes) -> None:
        if content == self._seen:
            return
        self._seen = content
        before = self._reading
        try:
            # In effect already while it is taken over, so that what is said of it tells its own places.
            self._reading = self._read(content)
            await self._on_change(self._reading.config)
        except ConfigError as error:
            self._reading = before
            self._refuse(error)
        except SinkSetupError as error:
            self._reading = before
            self._try_again(error)
        except Exception as error:
            # A loop boundary: what cannot take effect must not end the watch.
            self._reading = before
            log.exception("config_change_failed", path=str(self._path))
            self._try_again(error)
        else:
            self._accept()

    def _accept(self) -> None:
        self.loaded_at, self.last_error = datetime.now(UTC), None
        log.info("config_loaded", path=str(self._path), playbooks=len(self.current.custom_playbooks))
        self._tell_notes()
        self._on_result(True, "")

    def _tell_notes(self) -> None:
        if self.current.notes:
            log.warning("config_notes", path=str(self._path), notes=list(self.current.notes))
        for sink in self.left_out:
            log.error("sink_left_out", path=str(self._path), sink=sink.name, problems=list(map(str, sink.problems)))

    def _refuse(self, error: Exception) -> None:
        self.last_error = str(error)
        log.error("config_refused", path=str(self._path), problems=self.last_error.splitlines())
        self._on_result(False, self.last_error)

    def _try_again(self, error: Exception) -> None:
        """Refuse a good file that cannot take effect now; what it needs, such as a mounted file, may still come."""
        self._seen = None
        self._refuse(error)

    async def _watch(self, path: Path) -> None:
        try:
            async for _ in awatch(path.parent, watch_filter=None, recursive=False, step=_STEP_MILLISECONDS):
                await self.refresh()
        except (OSError, RuntimeError) as error:
            # No inotify instance is left, or the folder is gone: polling goes on.
            log.warning("config_watch_failed", path=str(path), error=str(error))

    async def _poll(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(self._poll_seconds)
