"""A sink's own thread, for what may block: a pipe that nobody reads, a disk that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple


class _Job(NamedTuple):
    work: Callable[[], None]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class OwnThread:
    """Does work one after another, in order, and holds up neither anybody else nor the end of the process.

    A `concurrent.futures` executor would: the interpreter waits for its threads at exit, for as long as they block.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, work: Callable[[], None]) -> None:
        """Return when the work is done; raises what it raises, RuntimeError after `close`.

        Work that is cancelled before its turn is not done; what has begun cannot be stopped.
        """
        if self._closed:
            raise RuntimeError(f"{self._name} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put(_Job(work, loop, done))
        await done

    def close(self) -> None:
        """Do nothing more, and wait for nothing; may be called again."""
        self._closed = True
        self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._closed or job.done.cancelled():
                _tell(job, RuntimeError(f"{self._name} is closed"))
            else:
                _tell(job, _failure(job.work))


def _failure(work: Callable[[], None]) -> Exception | None:
    """Do the work, and return what went wrong."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  raised again where it is waited for
        return error
    return None


def _tell(job: _Job, failure: Exception | None) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop is gone, and with it whoever waited
        job.loop.call_soon_threadsafe(_end, job.done, failure)


def _end(done: asyncio.Future[None], failure: Exception | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
