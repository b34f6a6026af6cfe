"""A clock that stands still, a queue in memory, and a sink that does what it is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from typing_extensions import override

from app.core.change import Entry, Resource, User
from app.core.delivery import Claimed, ClaimResult, Memory, Settlement, light
from app.core.finding import Finding, Folded, Notification
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
    fold: str = ""
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class MemoryQueue:
    """Keeps deliveries as a durable queue would; `broken` makes its calls fail, `open` has settlements wait."""

    clock: Clock
    rows: dict[int, Row] = field(default_factory=dict)
    limits: list[int] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    memories: dict[tuple[str, str], bytes] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def add(self, sink: str, count: int = 1, fold: str = "", **about: Any) -> list[int]:
        """Add due deliveries; `about` are fields of their findings and resources."""
        ids = [len(self.rows) + number for number in range(1, count + 1)]
        self.rows |= {each: Row(id=each, sink=sink, due=self.clock(), fold=fold, about=about) for each in ids}
        return ids

    def due(self, sink: str) -> list[Row]:
        pending = [row for row in self.rows.values() if row.sink == sink and row.state == "pending"]
        due = [row for row in pending if max(row.due, row.leased_until) <= self.clock()]
        return sorted(due, key=lambda row: (row.due, row.id))

    async def claim(self, sink: str, *, limit: int, lease: timedelta, whole: bool = True) -> ClaimResult:
        await self._called("claim")
        due = self.due(sink)
        parcels: dict[str, list[Row]] = {}
        for row in due[:limit]:
            parcels[row.fold or str(row.id)] = [each for each in due if each.fold == row.fold] if row.fold else [row]
        free = [row for parcel in parcels.values() for row in parcel]
        for row in free:
            row.leased_until = self.clock() + lease
            row.attempts += 1
        self.limits.append(limit)
        pending = [row for row in self.rows.values() if row.sink == sink and row.state == "pending"]
        waiting = [max(row.due, row.leased_until) for row in pending if row not in free]
        claimed = tuple(told(parcel, whole) for parcel in parcels.values())
        return ClaimResult(deliveries=claimed, next_due=min(waiting, default=None))

    async def whole(self, claimed: Claimed) -> Claimed | None:
        return told([self.rows[each.id] for each in claimed.every], True)

    async def backlog(self, sink: str, most: int) -> int:
        return min(len(self.due(sink)), most)

    async def recall(self, sink: str, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self.memories[sink, key] for key in keys if (sink, key) in self.memories}

    async def hasten(self, sink: str, fold: str, latest: datetime) -> None:
        for row in self.rows.values():
            if row.sink == sink and row.state == "pending" and not row.error and row.fold.startswith(fold):
                row.due = min(row.due, latest)

    async def settle(
        self, settlements: Sequence[Settlement], *, sink: str = "", memories: Sequence[Memory] = ()
    ) -> None:
        await self._called("settle")
        await self.open.wait()
        self.memories |= {(sink, each.key): each.body for each in memories}
        for settlement in settlements:
            row = self.rows[settlement.id]
            row.state, row.error = settlement.state, settlement.error
            row.leased_until = self.clock()
            row.fold = row.fold if settlement.fold is None else settlement.fold
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
    names = {"namespace", "name", "kind"}
    resource = Resource(**{key: value for key, value in row.about.items() if key in names})
    about = {key: value for key, value in row.about.items() if key not in names}
    entry = Entry(id=f"e{row.id}", at="2026-01-02T03:04:05Z", resource=resource, user=User())
    finding = Finding(**{"playbook": "p", "title": f"t{row.id}", **about})
    return Notification(delivery_id=str(row.id), finding=finding, entry=entry, attempt=row.attempts)


def told(rows: Sequence[Row], whole: bool) -> Claimed:
    """The deliveries as a queue gives them: the last one, with the others."""
    claimed = [Claimed(id=row.id, notification=light(notification(row)), fold=row.fold) for row in rows]
    shown = notification(rows[-1]) if whole else claimed[-1].notification
    if len(rows) > 1:
        folded = Folded(count=len(rows), since=claimed[0].notification.entry.at)
        shown = msgspec.structs.replace(shown, folded=folded)
    return msgspec.structs.replace(claimed[-1], notification=shown, others=tuple(claimed[:-1]))


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
