"""One sink's worker: claims what is due, sends it in order and at the receiver's pace, settles it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from app.core.delivery import Settlement
from app.delivery.backlog import digest_size
from app.delivery.pace import NOW, Lanes
from app.delivery.planning import Planner, Step
from app.delivery.queue import DeliveryQueue
from app.delivery.recording import Recording
from app.delivery.retry import DEFAULT_POLICY, RetryPolicy
from app.delivery.verdict import Judge, Outcome, asked_wait
from app.sinks.base import PermanentError, Sink, TemporaryError

LEASE_MARGIN: Final = timedelta(seconds=10)
"""Time to settle in: a send is cancelled this long before its lease ends."""

IDLE: Final = timedelta(seconds=5)
"""How long a worker rests without being woken, at most: other processes add to and requeue in the same queue."""

LONGEST_PAUSE: Final = timedelta(seconds=30)
"""How long a sink that fails rests between two attempts, unless it asks for longer."""

LONGEST_HOLD: Final = timedelta(seconds=10)
"""How long claimed deliveries wait for their lane's turn; where that takes longer they go back untried."""

MOST_SET_ASIDE: Final = 1000
"""Deliveries of lanes that must wait which are passed over in one pause, to look for some of other lanes."""

# A queue that names a past time but gives nothing must not keep the processor busy.
_SHORTEST_REST: Final = timedelta(milliseconds=50)

_log = structlog.get_logger(__name__)


def no_link(_entry_id: str) -> str:
    """Link nowhere."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all workers have in common; clock, randomness, links and counting are passed in.

    `lease` must be longer than `LEASE_MARGIN`; `batch` is how many deliveries are claimed at a time. `on_outcome` is
    given sink, outcome, seconds, and for how many deliveries the attempt was. `link` makes the address of an entry.
    """

    clock: Callable[[], datetime]
    random: Callable[[], float]
    on_outcome: Callable[[str, Outcome, float, int], None]
    link: Callable[[str], str] = no_link
    policy: RetryPolicy = DEFAULT_POLICY
    lease: timedelta = timedelta(seconds=60)
    batch: int = 32

    def __post_init__(self) -> None:
        if self.lease <= LEASE_MARGIN or self.batch < 1:
            raise ValueError(f"a lease must be longer than {LEASE_MARGIN.total_seconds():g} s, a batch at least 1")


class Worker:
    """Sends one sink's deliveries, one after another, in order within each lane.

    After a temporary failure the sink pauses, what else was claimed goes back untried, and the next claim is for one
    delivery alone: an outage costs the deliveries that wait few of their attempts. A receiver with a documented pace
    that asks for a pause is left alone in that lane only. Whatever fails, the worker lives on; `stop` ends it after the
    send that runs.
    """

    def __init__(self, sink: Sink[Any], queue: DeliveryQueue, terms: Terms) -> None:
        self.sink = sink
        self.name: str = sink.config.name
        self._queue = queue
        self._terms = terms
        self._lanes = Lanes(sink.pace)
        self._planner = Planner(sink, queue, terms.clock, terms.link)
        self._judge = Judge(self.name, terms.clock, terms.random, terms.policy)
        self._awake = asyncio.Event()
        self._stopping = False
        self._failures = 0
        self._paused_until: datetime | None = None
        self._set_aside = 0
        self._aside_until: dict[str, datetime] = {}
        self._recording = Recording(queue, self.name)
        self._has_begun = False

    def wake(self) -> None:
        """Look into the queue now; a sink that pauses is not disturbed."""
        self._awake.set()

    def stop(self) -> None:
        """Claim nothing more, and end when the running send has ended."""
        self._stopping = True
        self._awake.set()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping:
            self._awake.clear()
            try:
                until = await self._round()
            except Exception:  # noqa: BLE001  loop boundary: a queue that fails must not end the worker
                _log.exception("delivery_round_failed", sink=self.name)
                until = self._terms.clock() + IDLE
                self._failures += 1  # so that the next claim is for one alone: what cannot be planned holds up no other
            await self._rest(until)

    async def _rest(self, until: datetime) -> None:
        seconds = min(until - self._terms.clock(), IDLE).total_seconds()
        if seconds <= 0:
            return await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        return None

    async def _round(self) -> datetime:
        """Settle what is owed, claim, plan, send; return when to look again."""
        if not self._has_begun:
            await self._planner.begin()
            self._has_begun = True
        await self._recording.record()
        now = self._terms.clock()
        if self._paused_until and now < self._paused_until <= now + self._longest_pause:
            return self._paused_until
        size = 1 if self._failures else await digest_size(self._queue, self.name, self.sink.pace)
        limit = size or self._terms.batch
        backlog = size > 1
        claimed = await self._queue.claim(self.name, limit=limit, lease=self._terms.lease, whole=not backlog)
        if not claimed.deliveries:
            return max(claimed.next_due or now + IDLE, self._terms.clock() + _SHORTEST_REST)
        plan = await self._planner.plan(claimed.deliveries, backlog=backlog)
        await self._recording.record(plan.settlements, plan.memories)
        return await self._send_in_order(plan.steps, now)

    @property
    def _longest_pause(self) -> timedelta:
        """What no pause exceeds, unless the clock was set back meanwhile: then that one is over."""
        return max(LONGEST_PAUSE, self._terms.policy.retry_after_cap)

    async def _send_in_order(self, steps: Sequence[Step], claimed_at: datetime) -> datetime:
        """Send what the lanes and the lease allow, give back the rest; return when to look again."""
        deadline = claimed_at + self._terms.lease - LEASE_MARGIN
        # Less than half of the lease would cut off receivers that are only slow.
        least = (self._terms.lease - LEASE_MARGIN) / 2
        # What follows deliveries that went back until their lane is free must not overtake them.
        passed = [step for step in steps if step.lane in self._lanes_aside()]
        left = [step for step in steps if step not in passed]
        try:
            while left and not self._stopping:
                now = self._terms.clock()
                step, wait = self._next(left, now)
                budget = deadline - now - wait
                if budget < least or wait > LONGEST_HOLD:
                    break
                if wait > NOW:
                    self._awake.clear()
                    await self._rest(now + wait)
                    continue
                # Whether a send that is cancelled arrives is unknown: that one is not given back, its lease has to end.
                left.remove(step)
                if not await self._attempt(step, budget):
                    left = _without(left, step)
                if self._failures:
                    break
        finally:
            again = await self._give_back([*passed, *left], claimed_at)
        return again

    def _next(self, steps: Sequence[Step], now: datetime) -> tuple[Step, timedelta]:
        """Return the step whose lane is free first, and how long that takes; the first of equals."""
        waits: dict[str, timedelta] = {}
        for step in steps:
            if step.lane not in waits:
                waits[step.lane] = self._lanes.wait(step.lane, now)
            if waits[step.lane] <= NOW:
                return step, NOW
        first = min(steps, key=lambda step: waits[step.lane])
        return first, waits[first.lane]

    async def _give_back(self, steps: Sequence[Step], claimed_at: datetime) -> datetime:
        """Give back what was not tried, in its order; return when to look again.

        It has been due since it was claimed: before whatever was added in the meantime. Only where its lane has to wait
        for long it is due when that is free, so that it does not stand before deliveries of other lanes.
        """
        now = self._terms.clock()
        again, settlements = now, dict[int, Settlement]()
        for step in steps:
            wait = self._lanes.wait(step.lane, now)
            if wait > LONGEST_HOLD and not self._stopping:
                self._aside_until.setdefault(step.lane, now + wait)
            until = self._aside_until.get(step.lane)
            for each in step.claimed:
                settlements.setdefault(
                    each.id, Settlement(id=each.id, state="pending", next_attempt_at=until or claimed_at)
                )
                self._set_aside += until is not None
            if until and self._set_aside >= MOST_SET_ASIDE:
                again = until
        if again > now:
            self._paused_until, self._set_aside = again, 0
        await self._recording.record(tuple(settlements.values()))
        return again

    def _lanes_aside(self) -> dict[str, datetime]:
        """Return the lanes whose deliveries went back, and until when."""
        now = self._terms.clock()
        longest = now + self._longest_pause
        self._aside_until = {lane: until for lane, until in self._aside_until.items() if now < until <= longest}
        return self._aside_until

    async def _attempt(self, step: Step, budget: timedelta) -> bool:
        """Send and settle one message; say whether it was taken."""
        started = asyncio.get_running_loop().time()
        failure = await self._failure(step, budget)
        seconds = asyncio.get_running_loop().time() - started
        self._note(failure, step.lane)
        if failure is None and not step.delivers:
            await self._recording.note((), step.memories())
            return True
        settlements, outcome = self._judge.settlements(step.claimed, failure)
        await self._recording.note(settlements, () if failure else step.memories())
        self._terms.on_outcome(self.name, outcome, seconds, len(step.claimed))
        return failure is None

    async def _failure(self, step: Step, budget: timedelta) -> Exception | None:
        """Send, and return what went wrong."""
        limit = asyncio.timeout(budget.total_seconds())
        try:
            async with limit:
                await step.send()
        except Exception as error:  # noqa: BLE001  loop boundary: a sink's bug must not stop its other deliveries
            if limit.expired():
                return TemporaryError(f"not sent within {budget.total_seconds():.0f} s, cancelled")
            return error
        finally:
            self._lanes.sent(step.lane, self._terms.clock())
        return None

    def _note(self, failure: Exception | None, lane: str) -> None:
        """Pause the sink, or its lane, after a temporary failure.

        Success and refusal both show that the receiver is there, and so does one with a pace that asks for a pause.
        """
        policy, now = self._terms.policy, self._terms.clock()
        if failure is None or isinstance(failure, PermanentError):
            self._failures, self._set_aside = 0, 0
            self._paused_until = None
            return
        asked = asked_wait(failure, policy)
        if asked and self.sink.pace:
            self._lanes.hold(lane, now, asked)
            return
        self._failures += 1
        wait = min(policy.longest(self._failures), LONGEST_PAUSE) * self._terms.random()
        self._paused_until = now + max(wait, asked)


def _without(steps: Sequence[Step], failed: Step) -> list[Step]:
    """Return the steps for other deliveries than those of the one that failed."""
    settled = {each.id for each in failed.claimed}
    return [step for step in steps if settled.isdisjoint(each.id for each in step.claimed)]
