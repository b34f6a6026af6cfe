"""When it looks, and what it does about what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import structlog

from app.kube.backoff import Backoff
from app.kube.errors import ApiError
from app.tls.upkeep import QUIET_CONFLICTS, Upkeep

CONFLICT = ApiError("somebody was faster", status=409)


class Looks:
    """Fails as it is told to, then succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.count = 0
        self.told: list[str] = []
        self.pauses: list[float] = []
        self.looked: asyncio.Queue[int] = asyncio.Queue()
        self.upkeep = Upkeep(
            self.look,
            wait=lambda: timedelta(days=1),
            tell=self.told.append,
            what="test",
            backoff=Backoff(lambda _least, most: most),
            pause=self.pause,
        )

    async def look(self) -> None:
        self.count += 1
        self.looked.put_nowait(self.count)
        if self.failures:
            raise self.failures.pop(0)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def next(self) -> None:
        await asyncio.wait_for(self.looked.get(), 10)


@contextlib.asynccontextmanager
async def running(looks: Looks) -> AsyncIterator[None]:
    task = asyncio.create_task(looks.upkeep.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_it_looks_again_when_it_rings() -> None:
    looks = Looks()
    async with running(looks):
        await looks.next()
        looks.upkeep.ring()
        await looks.next()

    assert looks.count == 2


async def test_what_rings_during_a_look_is_not_missed() -> None:
    looks = Looks()
    first = looks.look

    async def ring_once() -> None:
        if looks.count == 0:
            looks.upkeep.ring()
        await first()

    looks.upkeep._look = ring_once
    async with running(looks):
        await looks.next()
        await looks.next()

    assert looks.count == 2


async def test_failures_are_told_and_tried_again_after_longer_and_longer_pauses() -> None:
    looks = Looks(ApiError("away"), ApiError("busy", status=429, retry_after=5), ValueError("a bug"))

    await looks.upkeep.until(lambda: looks.count == 4)

    assert looks.told == ["away", "busy", "ValueError; the log says more", ""]
    assert looks.pauses == [0.5, 6.0, 1.0, 1.0]


@pytest.mark.parametrize(("retry_after", "pauses"), [(None, [1.0, 999.0]), (2.0, [1002.0])])
async def test_a_ring_ends_a_pause_but_for_what_the_server_asked_for(
    retry_after: float | None, pauses: list[float]
) -> None:
    looks = Looks(ApiError("gone", retry_after=retry_after))
    looks.upkeep._backoff = Backoff(lambda _least, _most: 1000.0)

    async def pause(seconds: float) -> None:
        looks.pauses.append(seconds)
        looks.upkeep.ring()
        if seconds == 999:
            await asyncio.Event().wait()

    looks.upkeep._pause = pause
    async with running(looks):
        await looks.next()
        await looks.next()

    assert looks.pauses == pauses


async def test_a_few_conflicts_are_nothing_to_tell() -> None:
    looks = Looks(*[CONFLICT] * (QUIET_CONFLICTS + 1))

    with structlog.testing.capture_logs() as logged:
        await looks.upkeep.until(lambda: looks.count == QUIET_CONFLICTS + 2)

    assert looks.told == ["somebody was faster", ""]
    assert [each["event"] for each in logged] == ["upkeep interrupted"]


async def test_what_is_done_already_is_not_looked_at() -> None:
    looks = Looks()

    await looks.upkeep.until(lambda: True)

    assert looks.count == 0
