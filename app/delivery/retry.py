"""When a delivery that failed is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

# 2 to this power seconds is centuries: enough for any cap, and no overflow.
_LARGEST_EXPONENT: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    By default a delivery is given up after 60 attempts: 4.3 hours at most, half of that on average, and longer only if
    the receiver asks for it: an hour of outage makes none dead. `retry_after_cap` bounds what a receiver can ask for.
    """

    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)
    max_attempts: int = 60
    retry_after_cap: timedelta = timedelta(hours=1)

    def longest(self, attempt: int) -> timedelta:
        """Return the longest wait after this attempt, counted from 1: `base`, doubled every time, up to `cap`."""
        seconds = self.base.total_seconds() * 2 ** min(attempt - 1, _LARGEST_EXPONENT)
        return timedelta(seconds=min(seconds, self.cap.total_seconds()))


DEFAULT_POLICY: Final = RetryPolicy()


def next_attempt(
    attempt: int,
    *,
    now: datetime,
    retry_after: timedelta | None,
    random: Callable[[], float],
    policy: RetryPolicy = DEFAULT_POLICY,
) -> datetime | None:
    """Return when to try again after the given attempt (counted from 1) failed, or None to give up.

    The wait is drawn from zero to the policy's longest one, so that receivers which recover are not met by all at
    once; `random` returns a number in [0, 1). It is never shorter than `retry_after`.
    """
    if attempt >= policy.max_attempts:
        return None
    wait = policy.longest(attempt) * random()
    asked = min(retry_after or timedelta(0), policy.retry_after_cap)
    return now + max(wait, asked)
