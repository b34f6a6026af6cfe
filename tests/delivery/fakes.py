"""A clock that stands still, a queue in memory, and a sink that does what it is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from app.core.change import Entry, Resource, User
from app.core.delivery import Claimed, ClaimResult, Settlement
from app.core.finding import Finding, Notification
from app.sinks.base import Rendering, Sink, SinkConfig

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@dataclass
class Row:
    id: int
    sink: str
    state: str = "pending"
    attempts: int = 0
    due: datetime = START
    leased_until: datetime = START
    error: str = ""


@dataclass
class MemoryQueue:
    """Keeps deliveries as a durable queue would; `broken` makes its calls fail."""

    clock: Clock
    rows: dict[int, Row] = field(default_factory=dict)
    limits: list[int] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def add(self, sink: str, count: int = 1) -> list[int]:
        ids = [len(self.rows) + number for number in range(1, count + 1)]
        self.rows |= {each: Row(id=each, sink=sink, due=self.clock()) for each in ids}
        return ids

    async def claim(self, sink: str, *, limit: int, lease: timedelta) -> ClaimResult:
        await self._called("claim")
        pending = [row for row in self.rows.values() if row.sink == sink and row.state == "pending"]
        due = [row for row in pending if max(row.due, row.leased_until) <= self.clock()]
        free = sorted(due, key=lambda row: (row.due, row.id))[:limit]
        for row in free:
            row.leased_until = self.clock() + lease
            row.attempts += 1
        self.limits.append(limit)
        waiting = [max(row.due, row.leased_until) for row in pending if row not in free]
        claimed = tuple(Claimed(id=row.id, notification=notification(row)) for row in free)
        return ClaimResult(deliveries=claimed, next_due=min(waiting, default=None))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._called("settle")
        for settlement in settlements:
            row = self.rows[settlement.id]
            row.state, row.error = settlement.state, settlement.error
            row.leased_until = self.clock()
            if settlement.state == "pending":
                assert settlement.next_attempt_at is not None
                row.due = settlement.next_attempt_at
                row.attempts -= not settlement.error
        await self.notify()

    async def _called(self, name: str) -> None:
        await self.notify()
        if name in self.broken:
            raise OSError(f"{name}: disk full")

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait, without a clock, until the calls to the queue and the sinks have led to what the test wants."""
        async with self.changed:
            await self.changed.wait_for(reached)

    def states(self, sink: str) -> list[str]:
        return [row.state for row in self.rows.values() if row.sink == sink]


def notification(row: Row) -> Notification:
    entry = Entry(id=f"e{row.id}", at="2026-01-02T03:04:05Z", resource=Resource(), user=User())
    finding = Finding(playbook="p", title=f"t{row.id}")
    return Notification(delivery_id=str(row.id), finding=finding, entry=entry, attempt=row.attempts)


class RecordingSink(Sink[SinkConfig]):
    """Remembers what it got; fails as planned per delivery id, and holds what is told to be held."""

    Config = SinkConfig

    def __init__(self, name: str, queue: MemoryQueue) -> None:
        super().__init__(SinkConfig(name=name))
        self.queue = queue
        self.sent: list[int] = []
        self.tried: list[int] = []
        self.failures: dict[int, list[Exception]] = defaultdict(list)
        self.held: dict[int, asyncio.Event] = {}
        self.closed = 0

    def fail(self, ids: Iterable[int], *failures: Exception) -> None:
        for each in ids:
            self.failures[each] += failures

    def hold(self, delivery: int) -> asyncio.Event:
        return self.held.setdefault(delivery, asyncio.Event())

    @override
    def render(self, notification: Notification) -> Rendering:
        return notification.delivery_id

    @override
    async def send(self, notification: Notification) -> None:
        delivery = int(notification.delivery_id)
        self.tried.append(delivery)
        await self.queue.notify()
        if delivery in self.held:
            await self.held[delivery].wait()
        if self.failures[delivery]:
            raise self.failures[delivery].pop(0)
        self.sent.append(delivery)

    @override
    async def aclose(self) -> None:
        self.closed += 1
