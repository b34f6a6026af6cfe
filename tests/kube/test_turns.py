"""However much there is to do in a row, others have their turn."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from app.kube.handling import ChangeKind
from app.kube.listing import Listing
from app.kube.turns import Turns
from app.kube.watching import Watch

ITEMS = 20


class Slow:
    """A handler for which each object is work; counts how many it was shown when others had a turn."""

    def __init__(self) -> None:
        self.shown = 0
        self.shown_at_turns: set[int] = set()

    def begin(self) -> None:
        pass

    def listed(self, item: msgspec.Raw) -> None:
        until = time.perf_counter() + 0.004
        while time.perf_counter() < until:
            pass
        self.shown += 1

    def end(self) -> None:
        pass

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        self.listed(item)

    async def others(self) -> None:
        while self.shown < ITEMS:
            self.shown_at_turns.add(self.shown)
            await asyncio.sleep(0)


class Api:
    """Answers at once, so that nothing but the work itself takes time."""

    async def get(self, *_: Any, **__: Any) -> bytes:
        return json.dumps({"metadata": {"resourceVersion": "1"}, "items": [{}] * ITEMS}).encode()

    @asynccontextmanager
    async def stream(self, path: str, parameters: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._lines()

    async def _lines(self) -> AsyncIterator[bytes]:
        for _ in range(ITEMS):
            yield b'{"type": "ADDED", "object": {}}'
        await asyncio.Event().wait()


async def test_a_long_page_leaves_turns_to_others() -> None:
    slow = Slow()
    others = asyncio.create_task(slow.others())

    await Listing(Api(), "/x", {}, slow, 500).page()  # type: ignore[arg-type]
    await others

    assert len(slow.shown_at_turns) > 3


async def test_a_burst_of_events_leaves_turns_to_others() -> None:
    slow = Slow()
    watch = Watch(Api(), "/x", slow, name="x")  # type: ignore[arg-type]
    watch._version = "1"
    running = asyncio.create_task(watch.run())

    await slow.others()
    running.cancel()

    assert len(slow.shown_at_turns) > 3


async def test_little_work_takes_no_turn() -> None:
    turns = Turns(slice_seconds=60)
    other = asyncio.create_task(asyncio.sleep(0))

    for _ in range(1000):
        await turns.give()

    assert not other.done()
    await other
