"""What an attempt means for the deliveries that it was made for."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import structlog

from app.core.delivery import Claimed, Settlement
from app.delivery.retry import RetryPolicy, next_attempt
from app.sinks.base import PermanentError, TemporaryError

Outcome: TypeAlias = Literal["delivered", "retried", "dead", "bug"]
"""How an attempt ended. `bug` is a retry after an error that no sink may raise."""

_log = structlog.get_logger(__name__)


def asked_wait(failure: Exception | None, policy: RetryPolicy) -> timedelta:
    """Return for how long the receiver asked to be left alone, as far as the policy heeds it."""
    asked = failure.retry_after if isinstance(failure, TemporaryError) else None
    return min(asked or timedelta(0), policy.retry_after_cap)


class Judge:
    """Turns the outcome of a sink's attempts into settlements; logs each kind of bug once, with its traceback."""

    def __init__(
        self, sink: str, clock: Callable[[], datetime], random: Callable[[], float], policy: RetryPolicy
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._random = random
        self._policy = policy
        self._known_bugs: set[tuple[type[Exception], str, int | None]] = set()

    def settlements(
        self, claimed: Sequence[Claimed], failure: Exception | None
    ) -> tuple[tuple[Settlement, ...], Outcome]:
        """Return how these deliveries, told as one, are settled: those that are tried again are so together."""
        if failure is None:
            return tuple(Settlement(id=each.id, state="delivered") for each in claimed), "delivered"
        message = self._message(claimed[-1], failure)
        again = None if isinstance(failure, PermanentError) else self._again(claimed, failure)
        settled = tuple(self._settled(each, message, again) for each in claimed)
        if again is None:
            return settled, "dead"
        return settled, "retried" if isinstance(failure, TemporaryError) else "bug"

    def _again(self, claimed: Sequence[Claimed], failure: Exception) -> datetime | None:
        """Return when those are tried again that have an attempt left, None if none has."""
        attempts = [each.notification.attempt for each in claimed]
        left = [attempt for attempt in attempts if attempt < self._policy.max_attempts]
        return next_attempt(
            max(left or attempts),
            now=self._clock(),
            retry_after=asked_wait(failure, self._policy),
            random=self._random,
            policy=self._policy,
        )

    def _settled(self, claimed: Claimed, message: str, again: datetime | None) -> Settlement:
        if again is None or claimed.notification.attempt >= self._policy.max_attempts:
            _log.warning("delivery_dead", sink=self._sink, delivery=claimed.id, error=message)
            return Settlement(id=claimed.id, state="dead", error=message)
        _log.info("delivery_postponed", sink=self._sink, delivery=claimed.id, error=message, until=again.isoformat())
        return Settlement(id=claimed.id, state="pending", error=message, next_attempt_at=again)

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
            _log.error("sink_bug", sink=self._sink, delivery=claimed.id, exc_info=failure)
