"""Replicas over one record, with crashes, rival leaders, lost answers and slow disks at random: all is told once."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from typing_extensions import override

from app.core.job_report import FailedJob
from app.kube.errors import ApiError
from app.store.database import migrate
from app.store.journal import Appended, Journal, Record
from app.watcher.jobs import FailedCandidate
from tests.watcher.tellers import NOW, SILENCE, Gathering, Replica, Shared, Stored, candidate, record

T = TypeVar("T")
CONFLICT = ApiError("GET /leases: 500", status=500)
STEPS = 150


class Chance:
    """All that is left to chance, from one seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.trouble = 0.15

    async def dawdle(self) -> None:
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)

    def strikes(self) -> bool:
        return self.dice.random() < self.trouble


class MemoryJournal(Journal):
    """A journal without a thread, so that a seed says everything; what it took outlives whoever gave it."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(Path("nowhere"))
        self._chance = chance
        self._late: list[Record] = []
        self._rows = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self._rows)

    @override
    async def append(self, record: Record) -> Appended:
        if self._chance.strikes():
            return "lost"
        await self._chance.dawdle()
        if self._chance.strikes():
            self._late.append(record)
            return "pending"
        self._insert(record)
        await self._chance.dawdle()
        return "recorded"

    @override
    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await self._chance.dawdle()
        while self._late:
            self._insert(self._late.pop(0))
        return work(self._rows)

    def crash(self) -> None:
        """What waits for the disk reaches it, or does not."""
        while self._late:
            late = self._late.pop(0)
            if self._chance.strikes():
                self._insert(late)

    def names(self) -> list[str]:
        return [name for (name,) in self._rows.execute("SELECT name FROM entries")]

    def close_rows(self) -> None:
        self._rows.close()

    def _insert(self, record: Record) -> None:
        self._rows.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(record.entry)[:7]
        )


class UnreliableRecord(Shared):
    """Requests take their time; some fail before they reach the record, some after."""

    chance = Chance(0)

    @override
    async def _pass(self, call: str, number: int, when: str) -> None:
        await self.chance.dawdle()
        self._signal.touch()
        if self.chance.strikes():
            raise CONFLICT if when == "before" else SILENCE


class UnreliableGathering(Gathering):
    """Takes its time, and has faults."""

    chance = Chance(0)

    @override
    async def __call__(self, one: FailedCandidate) -> FailedJob:
        await self.chance.dawdle()
        if self.chance.strikes():
            raise RuntimeError("a fault of ours")
        return await super().__call__(one)


class UnreliableReplica(Replica):
    """A replica in trouble."""

    def __init__(self, journal: Journal, stored: Stored, chance: Chance, **keywords: Any) -> None:
        self.record_type = type("", (UnreliableRecord,), {"chance": chance})
        self.gathering_type = type("", (UnreliableGathering,), {"chance": chance})
        super().__init__(journal, stored, **keywords)


class Node:
    """A place where a replica runs, stops and is started again; its journal stays."""

    def __init__(self, world: World, identity: str) -> None:
        self.world = world
        self.identity = identity
        self.journal = MemoryJournal(world.chance)
        self.ids = 0
        self.replica: Replica | None = None

    def start(self) -> None:
        self.replica = replica = UnreliableReplica(
            self.journal, self.world.stored, self.world.chance, identity=self.identity, last_sequence=self.ids
        )
        replica.leading = self.world.chance.dice.random() < 0.5
        replica.now = self.world.now
        self.lists()
        replica.begin()

    def lists(self) -> None:
        if self.replica is not None:
            for job in self.world.jobs:
                self.replica.teller.failed(job)

    async def crash(self) -> None:
        if self.replica is not None:
            await self.replica.end()
            self.ids = self.replica.ids.next(0, 0)[0]
            self.replica = None
            self.journal.crash()


class World:
    def __init__(self, seed: int, nodes: int) -> None:
        self.chance = Chance(seed)
        self.stored = Stored(record())
        self.jobs: list[FailedCandidate] = []
        self.now = NOW
        self.nodes = [Node(self, identity) for identity in "abc"[:nodes]]

    @property
    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.replica is not None]

    async def step(self) -> None:
        dice = self.chance.dice
        node = dice.choice(self.nodes)
        action = dice.choices(
            [self._fail, self._list, self._elect, self._crash, self._start, self._look], [5, 2, 3, 1, 3, 4]
        )[0]
        await action(node)
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)

    async def _fail(self, _: Node) -> None:
        job = candidate(f"import-{len(self.jobs)}", age=self.chance.dice.randrange(20))
        self.jobs.append(job)
        for node in self.running:
            if node.replica is not None and self.chance.dice.random() < 0.8:
                node.replica.teller.failed(job)

    async def _list(self, node: Node) -> None:
        node.lists()

    async def _elect(self, node: Node) -> None:
        if node.replica is not None:
            node.replica.leading = not node.replica.leading
            if node.replica.leading:
                node.replica.teller.lead()

    async def _crash(self, node: Node) -> None:
        await node.crash()

    async def _start(self, node: Node) -> None:
        if node.replica is None:
            node.start()

    async def _look(self, node: Node) -> None:
        if node.replica is not None:
            node.replica.teller.lead()

    async def heal(self) -> None:
        """Everybody is back, everything works, and each leads for a while."""
        self.come_back()
        for leader in [*self.nodes, *self.nodes]:
            await self.led_by(leader)

    def come_back(self) -> None:
        """Everybody is back, and everything works."""
        self.chance.trouble = 0
        for node in self.nodes:
            if node.replica is None:
                node.start()
            node.lists()

    async def led_by(self, leader: Node) -> None:
        for node in self.running:
            assert node.replica is not None
            assert node.replica.lives, "nothing ends a teller"
            node.replica.leading = node is leader
            node.replica.now = self.now
        for node in [leader, *self.running]:
            assert node.replica is not None
            for _ in range(3):
                await node.replica.looks()

    async def end(self) -> None:
        for node in self.nodes:
            await node.crash()
            node.journal.close_rows()

    def told(self) -> Counter[str]:
        return Counter(name for node in self.nodes for name in node.journal.names())


@pytest.mark.parametrize("seed", range(12))
async def test_each_failure_is_told_exactly_once_by_those_who_come_back(seed: int) -> None:
    world = World(seed, nodes=1 + seed % 3)
    for _ in range(STEPS):
        await world.step()

    await world.heal()

    told = world.told()
    left = world.stored.record
    waiting = [node.replica.teller.waiting for node in world.nodes if node.replica is not None]
    await world.end()
    assert told == Counter(job.name for job in world.jobs)
    assert left is not None
    assert (left.claims, sum(waiting)) == ((), 0)


@pytest.mark.parametrize("seed", range(8))
async def test_one_who_leads_tells_all_within_the_grace_when_the_others_come_back_as_followers(seed: int) -> None:
    world = World(seed, nodes=2 + seed % 2)
    for _ in range(STEPS):
        await world.step()
    leader, *others = world.nodes
    for node in others:
        await node.crash()

    world.come_back()
    for _ in range(3):
        await world.led_by(leader)

    told = world.told()
    left = world.stored.record
    await world.end()
    assert told == Counter(job.name for job in world.jobs)
    assert left is not None
    assert left.claims == ()


@pytest.mark.parametrize("seed", range(4))
async def test_no_failure_is_lost_where_one_of_them_never_comes_back(seed: int) -> None:
    world = World(seed, nodes=3)
    for _ in range(STEPS):
        await world.step()
    gone = world.nodes[0]
    await gone.crash()
    world.nodes.remove(gone)
    # The others are back within their grace; what the one who is gone has claimed is taken over after its own.
    await world.heal()
    world.now += timedelta(seconds=61)

    await world.heal()

    told = world.told()
    before = Counter(gone.journal.names())
    await world.end()
    gone.journal.close_rows()
    assert set(told | before) == {job.name for job in world.jobs}
    assert set(told.values()) == {1}
    assert set((told + before).values()) <= {1, 2}
