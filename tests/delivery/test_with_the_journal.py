"""Grouping with the real queue: what is remembered is in the journal, and outlives the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from typing_extensions import override

from app.core.finding import Finding, Notification
from app.core.grouping import Grouping
from app.delivery.dispatcher import Dispatcher
from app.sinks.base import Rendering, SinkConfig, Summary, ThreadedSink
from app.store.database import connect_reader
from app.store.deliveries import DeliveryQueue
from app.store.delivery_lists import list_deliveries
from app.store.journal import Journal
from tests.builders import make_record
from tests.store.observed import opened

FINDING = Finding(playbook="images", title="web changed", aggregation_key="Images")


class Channel(ThreadedSink[SinkConfig]):
    """Keeps what it is told, and says when there has been so much of it."""

    Config = SinkConfig

    def __init__(self, expected: int, **grouping: Any) -> None:
        super().__init__(SinkConfig(name="chat", grouping=Grouping.model_validate(grouping)))
        self.log: list[str] = []
        self.complete = asyncio.Event()
        self._expected = expected

    @override
    async def summarise(self, summary: Summary, reference: str) -> str:
        self._say(f"{reference or 'new'}: {summary.total}")
        return reference or "m1"

    @override
    async def reply(self, notification: Notification, reference: str) -> None:
        self._say(f"{reference}> {notification.finding.title}")

    @override
    async def send(self, notification: Notification) -> None:
        self._say(notification.finding.title)

    @override
    def render(self, notification: Notification) -> Rendering:
        return notification.finding.title

    def _say(self, text: str) -> None:
        self.log.append(text)
        if len(self.log) == self._expected:
            self.complete.set()


@asynccontextmanager
async def delivering(journal: Journal, sink: Channel) -> AsyncIterator[None]:
    dispatcher = Dispatcher(DeliveryQueue(journal), [sink], clock=lambda: datetime.now(UTC), random=lambda: 0.5)
    dispatcher.start()
    try:
        yield
        await sink.complete.wait()
    finally:
        await dispatcher.close(timedelta(seconds=5))


async def told(folder: Path, sink: Channel, count: int) -> list[tuple[str, str]]:
    """Tell so many more in a new process; return states and reasons of all so far, oldest first."""
    async with opened(folder) as (journal, _):
        for _ in range(count):
            await journal.append(make_record("chat", finding=FINDING))
        async with delivering(journal, sink):
            pass
        with closing(connect_reader(journal.path)) as connection:
            found = list_deliveries(connection, limit=100)
        return [(each.state, each.last_error) for each in reversed(found)]


async def test_a_summary_goes_on_after_a_restart(tmp_path: Path) -> None:
    first, second = Channel(3), Channel(2)

    await told(tmp_path, first, 2)
    states = await told(tmp_path, second, 1)

    assert first.log == ["new: 2", "m1> web changed", "m1> web changed"]
    assert second.log == ["m1: 3", "m1> web changed"]
    assert states == [("delivered", "")] * 3


async def test_what_was_ignored_stays_counted_after_a_restart(tmp_path: Path) -> None:
    regular = {"notification_mode": {"regular": {"ignore_first": 2}}}

    await told(tmp_path, Channel(1, **regular), 3)
    states = await told(tmp_path, Channel(1, **regular), 1)

    assert [state for state, _ in states] == ["withheld", "withheld", "delivered", "delivered"]
    assert states[0][1].startswith("number 1 of the first 2 within 900 s (cluster (undefined))")
