"""The journal as who tells sees it: what it has, and since when its disk takes nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog

from app.store.journal import Journal

logger = structlog.get_logger(__name__)

T = TypeVar("T")

STALLED: Final = 5.0
"""Seconds after which a disk that neither takes nor refuses counts as one that refuses: a commit takes milliseconds."""

_LOOK_SECONDS: Final = 0.25


class DiskRefusesError(Exception):
    """The journal cannot be asked at the moment; the message says why."""


class Disk:
    """Belongs to one event loop. `refuses_since` is as `look` found it, None while the journal takes all."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self.refuses_since: datetime | None = None
        self._journal = journal
        self._clock = clock
        self._question: asyncio.Task[Any] | None = None
        self._is_silent = False

    @property
    def refusal(self) -> str | None:
        """Why the journal takes nothing now, if so."""
        if self._journal.last_error is not None:
            return f"the journal cannot be written: {self._journal.last_error}"
        if self._journal.full:
            return "the journal has no room for what waits to be written"
        if self._is_silent or self._journal.pending_seconds > STALLED:
            return "the journal's disk does not answer"
        return None

    def look(self) -> str | None:
        """Return `refusal`, and keep since when there is one."""
        refusal = self.refusal
        if refusal is None:
            self.refuses_since = None
        elif self.refuses_since is None:
            self.refuses_since = self._clock()
            logger.warning("failed jobs wait for the disk", action="retry", error=refusal)
        return refusal

    async def ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` after all that was appended before is durable. Raises DiskRefusesError where that takes long."""
        # A question that got no answer stays with the journal, whose answer says that the disk is back.
        if not self._is_silent:
            question = asyncio.create_task(self._journal.call(work), name="question to the journal")
            self._question = question
            question.add_done_callback(self._answered)
            if await self._is_answered(question):
                return question.result()
        raise DiskRefusesError(self.refusal or "the journal's disk does not answer")

    def close(self) -> None:
        """Ask no more."""
        if self._question is not None:
            self._question.cancel()

    async def _is_answered(self, question: asyncio.Task[T]) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STALLED
        while not question.done() and self._journal.last_error is None and loop.time() < deadline:
            await asyncio.wait((question,), timeout=_LOOK_SECONDS)
        self._is_silent = not question.done()
        return question.done()

    def _answered(self, question: asyncio.Task[Any]) -> None:
        self._is_silent = False
        if not question.cancelled():
            # Nobody may wait for it any more, and then its fault would be one that nobody heard of.
            question.exception()
