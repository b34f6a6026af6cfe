"""Brings queued deliveries to their sinks: one worker per sink, so that no sink waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog

from app.delivery.queue import DeliveryQueue
from app.delivery.retry import DEFAULT_POLICY, RetryPolicy
from app.delivery.verdict import Outcome
from app.delivery.worker import Terms, Worker, no_link
from app.sinks.base import Sink

_log = structlog.get_logger(__name__)


def ignore_outcome(sink: str, outcome: Outcome, seconds: float, deliveries: int) -> None:
    """Count nothing."""


class Dispatcher:
    """Sends every delivery of its sinks until it is delivered or dead, and closes the sinks that it was given.

    All methods but `wake_threadsafe` belong to the event loop that `start` ran in. `on_outcome(sink, outcome,
    seconds, deliveries)` is called after each attempt. `link` returns the address of an entry's page, or
    nothing; it is asked anew for every message. Deliveries to sinks that it does not have are left alone.
    """

    def __init__(
        self,
        queue: DeliveryQueue,
        sinks: Iterable[Sink[Any]],
        *,
        clock: Callable[[], datetime],
        random: Callable[[], float],
        policy: RetryPolicy = DEFAULT_POLICY,
        on_outcome: Callable[[str, Outcome, float, int], None] = ignore_outcome,
        link: Callable[[str], str] = no_link,
        lease: timedelta = timedelta(seconds=60),
        batch: int = 32,
    ) -> None:
        self._queue = queue
        self._terms = Terms(
            clock=clock, random=random, policy=policy, on_outcome=on_outcome, link=link, lease=lease, batch=batch
        )
        self._sinks = _by_name(sinks)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to send; call once, inside the event loop."""
        self._loop = asyncio.get_running_loop()
        for sink in self._sinks.values():
            self._employ(sink)

    def wake(self, sink_names: Iterable[str]) -> None:
        """Have these sinks look into the queue now; unknown names are ignored."""
        for name in sink_names:
            if name in self._running:
                self._running[name][0].wake()

    def wake_threadsafe(self, sink_names: Iterable[str]) -> None:
        """Do the same from any thread, at any time; before the start and after the end it does nothing."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(self.wake, tuple(sink_names))
        except RuntimeError:
            _log.debug("wake_after_close")

    async def replace_sinks(self, sinks: Iterable[Sink[Any]]) -> None:
        """Work with these sinks from now on; a sink that is passed again goes on undisturbed.

        A send that runs ends in its own time, and only then does a new sink of the same name begin, so order is kept;
        this does not wait for it. Sinks that are no longer there are closed, their deliveries stay pending.
        """
        wanted = _by_name(sinks)
        known, self._sinks = self._sinks, wanted
        for name, sink in known.items():
            if wanted.get(name) is not sink:
                self._retire(name)
        for name, sink in wanted.items():
            if known.get(name) is not sink:
                self._employ(sink)

    async def close(self, drain: timedelta) -> None:
        """Claim nothing more, let running sends finish for up to `drain`, cancel the rest, close the sinks.

        A cancelled send is tried again when its lease ends: nobody knows whether it arrived.
        """
        for name in list(self._running):
            self._retire(name)
        if not self._retiring:
            return
        _, late = await asyncio.wait(self._retiring, timeout=drain.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _employ(self, sink: Sink[Any]) -> None:
        worker = Worker(sink, self._queue, self._terms)
        predecessors = {task for task in self._retiring if task.get_name() == worker.name}
        self._running[worker.name] = (worker, asyncio.create_task(_work(worker, predecessors), name=worker.name))

    def _retire(self, name: str) -> None:
        """Stop a worker; its task ends when the sink is closed, and is remembered until then."""
        worker, task = self._running.pop(name)
        worker.stop()
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


async def _work(worker: Worker, predecessors: set[asyncio.Task[None]]) -> None:
    try:
        if predecessors:
            await asyncio.wait(predecessors)
        await worker.run()
    finally:
        await _close(worker)


async def _close(worker: Worker) -> None:
    try:
        await worker.sink.aclose()
    except Exception:  # noqa: BLE001  a sink that cannot close must not keep the others from closing
        _log.exception("sink_close_failed", sink=worker.name)


def _by_name(sinks: Iterable[Sink[Any]]) -> dict[str, Sink[Any]]:
    named: dict[str, Sink[Any]] = {}
    for sink in sinks:
        if sink.config.name in named:
            raise ValueError(f"two sinks are named {sink.config.name!r}; names must be unique")
        named[sink.config.name] = sink
    return named
