"""A sink's thread: in order, one after another, and nobody waits for it at the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from app.sinks._thread import OwnThread

BLOCKED_FOR_EVER = """
import asyncio, threading
from app.sinks._thread import OwnThread

async def main() -> None:
    thread, begun = OwnThread("blocked"), threading.Event()
    def block() -> None:
        begun.set()
        threading.Event().wait()
    work = asyncio.create_task(thread.run(block))
    await asyncio.to_thread(begun.wait)
    work.cancel()
    thread.close()

asyncio.run(main())
"""


class Gate:
    """Work that blocks until the test opens it."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def block(self) -> None:
        self.begun.set()
        assert self.open.wait(20)


def fails() -> None:
    raise OSError("disk full")


def added(done: list[str], name: str) -> Callable[[], None]:
    return lambda: done.append(name)


async def test_work_is_done_in_order_outside_of_the_event_loop() -> None:
    thread, done = OwnThread("t"), list[int]()

    await asyncio.gather(*(thread.run(lambda number=number: done.append(number)) for number in range(20)))  # type: ignore[misc]
    await thread.run(lambda: done.append(threading.get_ident()))

    assert done[:-1] == list(range(20))
    assert done[-1] != threading.get_ident()
    thread.close()


async def test_what_the_work_raises_is_raised_and_the_next_is_done() -> None:
    thread, done = OwnThread("t"), list[str]()

    with pytest.raises(OSError, match="disk full"):
        await thread.run(fails)
    await thread.run(added(done, "next"))

    assert done == ["next"]
    thread.close()


async def test_work_that_was_cancelled_before_its_turn_is_not_done() -> None:
    thread, done, gate = OwnThread("t"), list[str](), Gate()
    blocked = asyncio.create_task(thread.run(gate.block))
    late = asyncio.create_task(thread.run(added(done, "late")))
    await asyncio.to_thread(gate.begun.wait)

    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    gate.open.set()
    await blocked
    await thread.run(added(done, "last"))

    assert done == ["last"]
    thread.close()


async def test_after_the_end_nothing_is_done_and_nobody_waits() -> None:
    thread, done, gate = OwnThread("t"), list[str](), Gate()
    blocked = asyncio.create_task(thread.run(gate.block))
    waiting = asyncio.create_task(thread.run(added(done, "late")))
    await asyncio.to_thread(gate.begun.wait)

    thread.close()
    gate.open.set()
    await blocked

    with pytest.raises(RuntimeError, match="t is closed"):
        await waiting
    with pytest.raises(RuntimeError, match="t is closed"):
        await thread.run(added(done, "later"))
    assert done == []


def test_work_that_blocks_for_good_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", BLOCKED_FOR_EVER], timeout=20, check=False, capture_output=True)

    assert (ended.returncode, ended.stderr) == (0, b"")
