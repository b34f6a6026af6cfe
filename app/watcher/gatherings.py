"""Gatherings: failed Jobs whose evidence is being collected, or was, and waits to be told."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from app.core.job_report import FailedJob
from app.watcher.jobs import FailedCandidate

logger = structlog.get_logger(__name__)

AT_ONCE: Final = 8
MOST: Final = 64
"""What is gathered waits in memory, with logs: so much of it, however long nothing can be told."""


class Gatherings:
    """Collects what is known of failed Jobs, the oldest failures first; calls `on_end` as one gathering ends.

    Its fault is logged, and does not reach the others: the Job is no longer among them, and may be begun again.
    """

    def __init__(self, gather: Callable[[FailedCandidate], Awaitable[FailedJob]], on_end: Callable[[], None]) -> None:
        self._gather = gather
        self._on_end = on_end
        self._tasks: dict[str, asyncio.Task[FailedJob | None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def begin(self, candidates: Iterable[FailedCandidate]) -> None:
        """Begin with those that were not begun before, as far as there is room."""
        wanted = (each for each in candidates if each.uid not in self._tasks)
        for candidate in heapq.nsmallest(MOST - len(self._tasks), wanted, key=lambda each: each.failed_at):
            task = asyncio.create_task(self._in_turn(candidate), name=f"gather {candidate.uid}")
            task.add_done_callback(lambda _: self._on_end())
            self._tasks[candidate.uid] = task

    def ready(self) -> dict[str, FailedJob]:
        """Return what was gathered and not dropped; forget what met a fault."""
        ended = {uid: task for uid, task in self._tasks.items() if task.done()}
        ready = {uid: found for uid, task in ended.items() if (found := _found(task)) is not None}
        self._tasks = {uid: task for uid, task in self._tasks.items() if uid in ready or uid not in ended}
        return ready

    def drop(self, uid: str) -> None:
        """Forget a Job: it was told, or need not be."""
        if (task := self._tasks.pop(uid, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop gathering."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _in_turn(self, candidate: FailedCandidate) -> FailedJob | None:
        async with self._slots:
            try:
                return await self._gather(candidate)
            except Exception:
                # A loop boundary: one Job's fault must not keep the others from being told.
                logger.exception("evidence not gathered", action="bug", uid=candidate.uid)
                return None


def _found(task: asyncio.Task[FailedJob | None]) -> FailedJob | None:
    return None if task.cancelled() else task.result()
