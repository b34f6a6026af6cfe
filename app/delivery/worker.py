"""One sink's worker: claims what is due, sends it in order, settles each at once."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import structlog

from app.core.delivery import Claimed, Settlement
from app.delivery.queue import DeliveryQueue
from app.delivery.retry import DEFAULT_POLICY, RetryPolicy, next_attempt
from app.sinks.base import PermanentError, Sink, TemporaryError

Outcome: TypeAlias = Literal["delivered", "retried", "dead", "bug"]
"""How an attempt ended. `bug` is a retry after an error that no sink may raise."""

LEASE_MARGIN: Final = timedelta(seconds=10)
"""Time to settle in: a send is cancelled this long before its lease ends."""

IDLE: Final = timedelta(seconds=5)
"""How long a worker rests without being woken, at most: other processes add to and requeue in the same queue."""

LONGEST_PAUSE: Final = timedelta(seconds=30)
"""How long a sink that fails rests between two attempts, unless it asks for longer."""

# A queue that names a past time but gives nothing must not keep the processor busy.
_SHORTEST_REST: Final = timedelta(milliseconds=50)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all workers have in common; clock, randomness and counting are passed in.

    `lease` must be longer than `LEASE_MARGIN`; `batch` is how many deliveries are claimed at a time.
    """

    clock: Callable[[], datetime]
    random: Callable[[], float]
    on_outcome: Callable[[str, Outcome, float], None]
    policy: RetryPolicy = DEFAULT_POLICY
    lease: timedelta = timedelta(seconds=60)
    batch: int = 32

    def __post_init__(self) -> None:
        if self.lease <= LEASE_MARGIN or self.batch < 1:
            raise ValueError(f"a lease must be longer than {LEASE_MARGIN.total_seconds():g} s, a batch at least 1")


class Worker:
    """Sends one sink's deliveries, one after another.

    After a temporary failure the sink pauses, what else was claimed goes back untried, and the next claim is for one
    delivery alone: an outage costs the deliveries that wait few of their attempts. Whatever fails, the worker lives
    on; `stop` ends it after the send that runs.
    """

    def __init__(self, sink: Sink[Any], queue: DeliveryQueue, terms: Terms) -> None:
        self.sink = sink
        self.name: str = sink.config.name
        self._queue = queue
        self._terms = terms
        self._awake = asyncio.Event()
        self._stopping = False
        self._failures = 0
        self._paused_until: datetime | None = None
        self._owed: list[Settlement] = []
        self._known_bugs: set[tuple[type[Exception], str, int | None]] = set()

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
        """Settle what is owed, claim, send; return when to look again."""
        await self._settle()
        now = self._terms.clock()
        if self._paused_until and now < self._paused_until:
            return self._paused_until
        limit = 1 if self._failures else self._terms.batch
        claimed = await self._queue.claim(self.name, limit=limit, lease=self._terms.lease)
        if not claimed.deliveries:
            return max(claimed.next_due or now + IDLE, self._terms.clock() + _SHORTEST_REST)
        await self._send_in_order(claimed.deliveries, now)
        return self._terms.clock()

    async def _send_in_order(self, deliveries: Sequence[Claimed], claimed_at: datetime) -> None:
        deadline = claimed_at + self._terms.lease - LEASE_MARGIN
        # Less than half of the lease would cut off receivers that are only slow.
        least = (self._terms.lease - LEASE_MARGIN) / 2
        untried = list(deliveries)
        try:
            while untried and not self._stopping:
                budget = deadline - self._terms.clock()
                if budget < least or not await self._attempt(untried.pop(0), budget):
                    break
        finally:
            # Due since they were claimed: before whatever was added in the meantime.
            await self._settle(
                *(Settlement(id=each.id, state="pending", next_attempt_at=claimed_at) for each in untried)
            )

    async def _attempt(self, claimed: Claimed, budget: timedelta) -> bool:
        """Send and settle one delivery; say whether the sink is in a state to take the next."""
        started = asyncio.get_running_loop().time()
        failure = await self._failure(claimed, budget)
        seconds = asyncio.get_running_loop().time() - started
        self._note(failure)
        settlement, outcome = self._judged(claimed, failure)
        await self._settle(settlement)
        self._terms.on_outcome(self.name, outcome, seconds)
        return not self._failures

    async def _failure(self, claimed: Claimed, budget: timedelta) -> Exception | None:
        """Send, and return what went wrong."""
        limit = asyncio.timeout(budget.total_seconds())
        try:
            async with limit:
                await self.sink.send(claimed.notification)
        except Exception as error:  # noqa: BLE001  loop boundary: a sink's bug must not stop its other deliveries
            if limit.expired():
                return TemporaryError(f"not sent within {budget.total_seconds():.0f} s, cancelled")
            return error
        return None

    def _note(self, failure: Exception | None) -> None:
        """Pause the sink after a temporary failure; success and refusal both show that the receiver is there."""
        if failure is None or isinstance(failure, PermanentError):
            self._failures = 0
            self._paused_until = None
            return
        self._failures += 1
        wait = min(self._terms.policy.longest(self._failures), LONGEST_PAUSE) * self._terms.random()
        asked = min(_retry_after(failure) or timedelta(0), self._terms.policy.retry_after_cap)
        self._paused_until = self._terms.clock() + max(wait, asked)

    def _judged(self, claimed: Claimed, failure: Exception | None) -> tuple[Settlement, Outcome]:
        if failure is None:
            return Settlement(id=claimed.id, state="delivered"), "delivered"
        message = self._message(claimed, failure)
        again = None if isinstance(failure, PermanentError) else self._next_attempt(claimed, failure)
        if again is None:
            _log.warning("delivery_dead", sink=self.name, delivery=claimed.id, error=message)
            return Settlement(id=claimed.id, state="dead", error=message), "dead"
        _log.info("delivery_postponed", sink=self.name, delivery=claimed.id, error=message, until=again.isoformat())
        settlement = Settlement(id=claimed.id, state="pending", error=message, next_attempt_at=again)
        return settlement, "retried" if isinstance(failure, TemporaryError) else "bug"

    def _next_attempt(self, claimed: Claimed, failure: Exception) -> datetime | None:
        return next_attempt(
            claimed.notification.attempt,
            now=self._terms.clock(),
            retry_after=_retry_after(failure),
            random=self._terms.random,
            policy=self._terms.policy,
        )

    def _message(self, claimed: Claimed, failure: Exception) -> str:
        if isinstance(failure, (TemporaryError, PermanentError)):
            return str(failure)
        self._log_bug(claimed, failure)
        # The message of a foreign error may carry anything; its traceback is in the log.
        return f"internal error ({type(failure).__name__}), see the log"

    def _log_bug(self, claimed: Claimed, failure: Exception) -> None:
        last = traceback.extract_tb(failure.__traceback__)[-1]
        bug = (type(failure), last.filename, last.lineno)
        if bug not in self._known_bugs:
            self._known_bugs.add(bug)
            _log.error("sink_bug", sink=self.name, delivery=claimed.id, exc_info=failure)

    async def _settle(self, *settlements: Settlement) -> None:
        """Record the settlements, and what an earlier failure left.

        If the queue fails, what was delivered is remembered until it is recorded. All else comes back by itself when
        the lease ends, and must not be settled after that: by then it may be somebody else's.
        """
        due = (*self._owed, *settlements)
        if not due:
            return
        self._owed = [each for each in due if each.state == "delivered"]
        await self._queue.settle(due)
        self._owed = []


def _retry_after(failure: Exception) -> timedelta | None:
    return failure.retry_after if isinstance(failure, TemporaryError) else None
