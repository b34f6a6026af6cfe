"""Writes down how attempts ended while the next ones are made: what ends during one commit shares the next."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from app.core.delivery import Memory, Settlement
from app.delivery.queue import DeliveryQueue

MOST_UNRECORDED: Final = 16
"""Settlements that wait for the queue, beyond which nothing is sent: so many may be sent twice after a kill."""


class Recording:
    """Settles one sink's deliveries, in order; for one worker.

    If the queue fails, what was delivered is kept and written with the next call. All else comes back by itself when
    its lease ends, and must not be settled after that: by then it may be somebody else's.
    """

    def __init__(self, queue: DeliveryQueue, sink: str) -> None:
        self._queue = queue
        self._sink = sink
        self._settlements: list[Settlement] = []
        self._memories: dict[str, Memory] = {}
        self._writing: asyncio.Task[None] | None = None

    async def note(self, settlements: Sequence[Settlement], memories: Collection[Memory] = ()) -> None:
        """Have this written soon, without waiting for it; raises what went wrong with what was noted before."""
        self._add(settlements, memories)
        if self._writing is not None and (self._writing.done() or len(self._settlements) >= MOST_UNRECORDED):
            await self._written()
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def record(self, settlements: Sequence[Settlement] = (), memories: Collection[Memory] = ()) -> None:
        """Write this, and what was noted or kept, before returning."""
        self._add(settlements, memories)
        await self._written()
        if self._settlements or self._memories:
            await self._write()

    def _add(self, settlements: Sequence[Settlement], memories: Collection[Memory]) -> None:
        self._settlements.extend(settlements)
        self._memories |= {each.key: each for each in memories}

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _write(self) -> None:
        settlements, self._settlements = self._settlements, []
        memories, self._memories = self._memories, {}
        try:
            await self._queue.settle(settlements, sink=self._sink, memories=tuple(memories.values()))
        except BaseException:
            self._settlements = [each for each in (*settlements, *self._settlements) if each.state == "delivered"]
            self._memories = memories | self._memories
            raise
