"""`make bench-delivery`: how fast deliveries leave, and how a backlog drains, with the real queue in a real file.

Rates are told as ratios to bare httpx posts of the same bodies to the same receiver in the same run: only ratios
travel between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

import httpx
import structlog
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from app.core.finding import Notification
from app.delivery.dispatcher import Dispatcher
from app.sinks.base import Pace, Rendering, Sink, SinkConfig
from app.sinks.webhook import WebhookConfig, WebhookSink, body
from app.store.deliveries import DeliveryQueue
from app.store.journal import Journal
from tests.builders import make_record

PACE: Final = Pace(50, 1.0)
PROBE_SECONDS: Final = 0.02


class PacedSink(Sink[SinkConfig]):
    """A receiver that takes so many messages a second, and remembers when each came and for how many it was."""

    Config = SinkConfig
    pace = PACE

    def __init__(self, name: str) -> None:
        super().__init__(SinkConfig(name=name))
        self.came: list[float] = []
        self.told = 0

    @override
    def render(self, notification: Notification) -> Rendering:
        return notification.delivery_id

    @override
    async def send(self, notification: Notification) -> None:
        await asyncio.sleep(0.002)
        self.came.append(time.perf_counter())
        self.told += notification.folded.count if notification.folded else 1


class ProbeSink(Sink[SinkConfig]):
    """A receiver that is at hand at once, and remembers when each notification came."""

    Config = SinkConfig

    def __init__(self) -> None:
        super().__init__(SinkConfig(name="probe"))
        self.came: dict[str, float] = {}

    @override
    def render(self, notification: Notification) -> Rendering:
        return notification.delivery_id

    @override
    async def send(self, notification: Notification) -> None:
        self.came[notification.entry.id] = time.perf_counter()


@contextlib.contextmanager
def receiving() -> Iterator[str]:
    """Run the receiver in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "tests.bench.receiver"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.asynccontextmanager
async def journal_in(folder: Path) -> AsyncIterator[Journal]:
    journal = Journal(folder, synchronous="FULL")
    journal.start()
    try:
        yield journal
    finally:
        await journal.close(30)


async def filled(journal: Journal, sink: str, count: int) -> None:
    for start in range(0, count, 256):
        records = [make_record(sink) for _ in range(min(256, count - start))]
        await asyncio.gather(*(journal.append(record) for record in records))


@contextlib.asynccontextmanager
async def dispatching(journal: Journal, sinks: Sequence[Sink[Any]]) -> AsyncIterator[None]:
    dispatcher = Dispatcher(
        DeliveryQueue(journal), sinks, clock=lambda: datetime.now(UTC), random=SystemRandom().random
    )
    journal.on_deliveries = dispatcher.wake
    dispatcher.start()
    try:
        yield
    finally:
        journal.on_deliveries = lambda _sinks: None
        await dispatcher.close(timedelta(seconds=10))


async def pending(journal: Journal, sink: str) -> int:
    query = "SELECT count(*) FROM deliveries WHERE sink = ? AND state = 'pending'"
    return int(await journal.call(lambda c: c.execute(query, (sink,)).fetchone()[0]))


async def drained(journal: Journal, sink: str) -> None:
    while await pending(journal, sink):  # noqa: ASYNC110  the queue is asked as anybody else could ask it
        await asyncio.sleep(0.05)


async def deliveries_per_second(folder: Path, url: str, count: int) -> float:
    sink = WebhookSink(WebhookConfig.model_validate({"name": "hook", "url": url}))
    async with journal_in(folder) as journal:
        await filled(journal, "hook", count)
        started = time.perf_counter()
        async with dispatching(journal, [sink]):
            await drained(journal, "hook")
            return count / (time.perf_counter() - started)


async def posts_per_second(folder: Path, url: str, count: int) -> float:
    config = WebhookConfig.model_validate({"name": "hook", "url": url})
    async with journal_in(folder) as journal:
        await filled(journal, "hook", 1)
        claimed = await DeliveryQueue(journal).claim("hook", limit=1, lease=timedelta(seconds=60))
    content = body(claimed.deliveries[0].notification, config)
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.post(url, content=content)
        started = time.perf_counter()
        for _ in range(count):
            await client.post(url, content=content)
        return count / (time.perf_counter() - started)


async def probed(journal: Journal, probe: ProbeSink, until: asyncio.Event) -> list[float]:
    """Tell the probe something every now and then; return for each how long it took, in seconds, sorted."""
    sent: dict[str, float] = {}
    while not until.is_set():
        record = make_record("probe")
        entry_id = str(record.entry.body).partition('"id":"')[2].partition('"')[0]
        sent[entry_id] = time.perf_counter()
        await journal.append(record)
        await asyncio.sleep(PROBE_SECONDS)
    await drained(journal, "probe")
    return sorted(probe.came[each] - at for each, at in sent.items())


async def alone(folder: Path, seconds: float) -> list[float]:
    probe, over = ProbeSink(), asyncio.Event()
    async with journal_in(folder) as journal, dispatching(journal, [probe]):
        asyncio.get_running_loop().call_later(seconds, over.set)
        return await probed(journal, probe, over)


async def beside_a_drain(folder: Path, paced: PacedSink, count: int) -> tuple[float, list[float]]:
    """Return how long the backlog of a sink took, and how long another sink's deliveries took meanwhile."""
    probe, over = ProbeSink(), asyncio.Event()
    async with journal_in(folder) as journal:
        await filled(journal, paced.config.name, count)
        async with dispatching(journal, [paced, probe]):
            started = time.perf_counter()
            probing = asyncio.create_task(probed(journal, probe, over))
            while paced.told < count:  # noqa: ASYNC110  its sink is to do nothing but what a sink does
                await asyncio.sleep(0.1)
            seconds = time.perf_counter() - started
            over.set()
            return seconds, await probing


def busiest_second(came: Sequence[float]) -> int:
    """Return the most messages that came in any span of a second."""
    most = start = 0
    for end, at in enumerate(came):
        while came[start] <= at - PACE.seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


def milliseconds(values: Sequence[float], share: float) -> str:
    return f"{values[int(len(values) * share)] * 1e3:.1f}"


def measure(console: Console, work: Path, *, quick: bool) -> None:
    """Print all figures; raises AssertionError if a receiver got more than it takes or a delivery was lost."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    count, rounds, backlog = (400, 1, 5_000) if quick else (3_000, 3, 100_000)
    with receiving() as url:
        rates = [
            (asyncio.run(deliveries_per_second(work / f"rate-{n}", url, count)),
             asyncio.run(posts_per_second(work / f"bare-{n}", url, count)))
            for n in range(rounds)
        ]  # fmt: skip
    ours, bare = (statistics.median(values) for values in zip(*rates, strict=True))
    table = Table("deliveries to a local webhook", "a second", "of bare httpx", box=None)
    table.add_row("kubewitness, FULL, one receiver", f"{ours:,.0f}", f"{ours / bare:.2f}")
    table.add_row("httpx posts of the same body, one after another", f"{bare:,.0f}", "1.00")
    console.print(table)
    paced = PacedSink("paced")
    undisturbed = asyncio.run(alone(work / "alone", 2.0 if quick else 10.0))
    seconds, meanwhile = asyncio.run(beside_a_drain(work / "drain", paced, backlog))
    assert paced.told == backlog, f"{paced.told} of {backlog} deliveries were told"
    most = busiest_second(paced.came)
    assert most <= PACE.messages, f"{most} messages in a second"
    console.print(
        f"backlog: {backlog:,} deliveries in {seconds:.0f} s, as {len(paced.came):,} messages,"
        f" at most {most} in any second of {PACE.messages} allowed"
    )
    table = Table("another sink, from append to arrival", "p50 ms", "p99 ms", box=None)
    table.add_row("alone", milliseconds(undisturbed, 0.5), milliseconds(undisturbed, 0.99))
    table.add_row("while the backlog drains", milliseconds(meanwhile, 0.5), milliseconds(meanwhile, 0.99))
    console.print(table)


def main() -> None:
    """Measure everything, or less with --quick."""
    parser = argparse.ArgumentParser(prog="make bench-delivery", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer deliveries")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kubewitness-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:  # noqa: TID251
        measure(Console(width=120, highlight=False), Path(folder), quick=options.quick)


if __name__ == "__main__":
    main()
