"""How long to wait after a failure: longer each time, at random, and never less than the server asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

FIRST: Final = 0.5
LIMIT: Final = 30.0
LONGEST_WISH: Final = 300.0
"""A `Retry-After` beyond this is not believed: a watch that sleeps for an hour is no watch."""


class Backoff:
    """Waits of one caller, in seconds: anything up to 0.5 s, then 1 s, 2 s, ... 30 s (exponential, full jitter).

    `uniform` is injected by tests; it returns a number between its two arguments.
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self.failures = 0
        self._uniform = uniform

    def next(self, retry_after: float | None = None) -> float:
        """Return how long to wait after one more failure; a server's wish comes before our own number."""
        ceiling = min(LIMIT, FIRST * 2.0 ** min(self.failures, 10))
        self.failures += 1
        # Everybody was told the same wish at the same moment, so jitter is added to it.
        return min(retry_after or 0.0, LONGEST_WISH) + self._uniform(0.0, ceiling)

    def reset(self) -> None:
        """Begin again after a success."""
        self.failures = 0
