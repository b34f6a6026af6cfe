"""Looks again and again after something that lies in the API server: at once when it rings, and every now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog

from app.kube.backoff import Backoff
from app.kube.errors import ApiError

logger = structlog.get_logger(__name__)

QUIET_CONFLICTS: Final = 3
"""Conflicts in a row that are none of anybody's business: several replicas do the same at the same moment."""

LEAST_PAUSE: Final = 1.0
"""Seconds after a failure during which nothing is tried again, however often it rings."""


class Upkeep:
    """Calls `look` for ever. What goes wrong is told, logged, and tried again after a pause that becomes longer.

    `wait` says how long nothing is to be done after a look that succeeded, unless somebody calls `ring`. `tell` gets
    what is wrong now, empty while all is well.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[None]],
        *,
        wait: Callable[[], timedelta],
        tell: Callable[[str], None],
        what: str,
        backoff: Backoff | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._look = look
        self._wait = wait
        self._tell = tell
        self._what = what
        self._backoff = backoff or Backoff()
        self._pause = pause
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Have it look at once; after a failure, as soon as a second has passed and what the server asked for."""
        self._rung.set()

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Look until something is so, which it may be already."""
        while not is_done():
            if not await self._succeeds() or is_done():
                continue
            await self._rest()

    async def run(self) -> None:
        """Look for ever; only cancellation ends it."""
        while True:
            if await self._succeeds():
                await self._rest()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait().total_seconds()):
                await self._rung.wait()

    async def _succeeds(self) -> bool:
        self._rung.clear()
        try:
            await self._look()
        except ApiError as error:
            await self._recover(error)
            return False
        except Exception as error:
            # The loop boundary: a bug of ours must not end what keeps certificates alive.
            logger.exception("upkeep failed", action="bug", what=self._what)
            self._tell(f"{type(error).__name__}; the log says more")
            await self._sit_out(self._backoff.next())
            return False
        self._backoff.reset()
        self._tell("")
        return True

    async def _recover(self, error: ApiError) -> None:
        wait = self._backoff.next(error.retry_after)
        if not error.is_conflict or self._backoff.failures > QUIET_CONFLICTS:
            self._tell(str(error))
            logger.warning("upkeep interrupted", action="retry", what=self._what, error=str(error), wait_seconds=wait)
        await self._sit_out(wait, wait if error.retry_after else LEAST_PAUSE)

    async def _sit_out(self, wait: float, least: float = LEAST_PAUSE) -> None:
        """Pause; what rings ends that early, since it may have mended what failed."""
        await self._pause(min(wait, least))
        if wait <= least:
            return
        paused, rung = asyncio.ensure_future(self._pause(wait - least)), asyncio.ensure_future(self._rung.wait())
        try:
            await asyncio.wait({paused, rung}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            paused.cancel()
            rung.cancel()
