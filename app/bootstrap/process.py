"""One process: its event loop, its signals, and the work that goes on in its background."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import structlog

logger = structlog.get_logger(__name__)


class Background:
    """Tasks that go on until the process stops; one that ends by itself is a fault that `ended` tells."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task."""
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        task.add_done_callback(_report_end)
        self._tasks.append(task)
        return task

    def ended(self) -> list[str]:
        """Return the names of tasks that go on no longer."""
        return [task.get_name() for task in self._tasks if task.done()]

    async def cancel(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("background task ended", action="bug", task=task.get_name(), exc_info=task.exception())


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work again and again; what goes wrong once is logged and tried again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except (OSError, sqlite3.Error) as error:
            logger.warning("background work failed", action="retry", error=str(error))
        except Exception:
            # A loop boundary: a fault in one round must not end all that would follow.
            logger.exception("background work failed", action="bug")


class Stop:
    """Whether the process was asked to stop: once, and then a second time by somebody in a hurry."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()

    def ask(self) -> None:
        """Begin to stop; asked twice, do not wait for anybody."""
        if self._asked.is_set():
            self._hurry.set()
        self._asked.set()

    async def wait(self) -> None:
        """Wait until the process is asked to stop, by SIGTERM or SIGINT too."""
        await self._asked.wait()

    async def spares(self, start: Coroutine[Any, Any, None]) -> bool:
        """Do what may take long, such as to wait for an API server; return False if the wish came first, and ended it.

        As process 1 of a container we would not even die of a signal that nobody handles.
        """
        starting, asked = asyncio.create_task(start, name="start"), asyncio.create_task(self._asked.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            logger.info("stopped", action="stop", during="start")
            return False
        starting.result()
        return True

    async def linger(self, seconds: float) -> None:
        """Wait, unless somebody is in a hurry."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), seconds)

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for the wish to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def calm_the_collector() -> None:
    """Spare what was loaded at the start from garbage collection, and collect less often.

    Every review is a tree of some hundred maps and lists without cycles, freed by counting. The default thresholds take
    them for a reason to look through everything again every few reviews, which costs more than the reviews do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine function in the fastest event loop there is; return its exit code."""
    import uvloop  # noqa: PLC0415  only where a server runs

    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
